"""``python -m moist``."""

import sys

from moist.cli import main

if __name__ == "__main__":
    sys.exit(main())
