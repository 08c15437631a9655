"""The tiny mixtures of the mixtures' tests serve here too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "mixture"))
