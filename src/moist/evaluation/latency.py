"""How long a call takes on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

__all__ = ["measure_latency"]


def measure_latency(predict: Callable[[], object], repeats: int = 100, warmup: int = 10) -> dict[str, float]:
    """Time a call on one intra-op thread, which small models run best on; torch's own number is restored.

    Args:
        predict: the call to time, all arguments bound.
        repeats: timed calls.
        warmup: calls before them that are not timed (allocation, kernel choice, caches).

    Returns:
        ``median``, ``p10`` and ``p90`` of the timed calls, in milliseconds.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(warmup):
            predict()
        times = [_seconds(predict) for _ in range(repeats)]
    finally:
        torch.set_num_threads(threads)
    p10, median, p90 = np.percentile(times, [10, 50, 90]) * 1000
    return {"median": float(median), "p10": float(p10), "p90": float(p90)}


def _seconds(predict: Callable[[], object]) -> float:
    start = time.perf_counter()
    predict()
    return time.perf_counter() - start
