"""What the benchmarks beside it share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["spread", "timed"]


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    before = time.perf_counter()
    call()
    return time.perf_counter() - before


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return median, extremes and the values of the rounds themselves, to four digits."""
    rounded = [float(f"{value:.4g}") for value in values]
    middle = float(f"{statistics.median(rounded):.4g}")
    return {"median": middle, "min": min(rounded), "max": max(rounded), "values": rounded}
