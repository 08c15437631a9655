"""Threads that share a batch out among themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Crew"]

FEWEST_ROWS = 16  # of a part: with fewer, handing it over costs more than a thread gains

T = TypeVar("T")
R = TypeVar("R")


class Crew:
    """As many threads as asked for, started when there is first work for two.

    A batch in parts, one for each thread, is faster than one graph whose every operator is split: threads meet twice
    a batch instead of at every operator. Graphs must let go of Python's lock while they run.

    Args:
        threads: how many.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="moist") if threads > 1 else None

    def parts(self, num_rows: int) -> list[slice]:
        """Return at most one part of the rows for each thread, as equal as can be."""
        count = max(1, min(self._threads, num_rows // FEWEST_ROWS))
        ends = [num_rows * (number + 1) // count for number in range(count)]
        return [slice(start, end) for start, end in zip([0, *ends], ends)]

    def each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Return what the work makes of each item, in order; items are begun in order too.

        Raises:
            Exception: what the work raised for the first item that failed.
        """
        if self._pool is None or len(items) == 1:
            return [work(item) for item in items]
        return list(self._pool.map(work, items))
