"""How many cases a search tries."""

import os

# MOIST_FUZZ=1 is what continuous integration runs; 10 makes more than ten thousand cases.
SCALE = int(os.environ.get("MOIST_FUZZ", "1"))
