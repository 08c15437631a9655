"""Studies of integration: a network with experts becomes one dense student (OneS)."""
