"""MoIST: distil one large teacher into a routed mixture of small specialists."""
