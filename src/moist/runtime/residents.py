"""Things that are opened when they are first needed, of which those used last stay."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from moist.errors import UserError

__all__ = ["Residents"]

T = TypeVar("T")


class Residents(Generic[T]):
    """Numbered things of which some are open; any number of threads may ask for them.

    Args:
        open_one: opens number k; called under a lock.
        sizes: bytes of each.
        max_resident: most that are open at once; None for all.
        memory_budget: most bytes that are open at once, by ``sizes``; None for no limit.

    Raises:
        UserError: the limits leave no room for one.
    """

    def __init__(
        self,
        open_one: Callable[[int], T],
        sizes: Sequence[int],
        max_resident: int | None = None,
        memory_budget: int | None = None,
    ) -> None:
        if max_resident is not None and max_resident < 1:
            raise UserError(
                f"max_resident must be at least 1, for one specialist is needed to answer, got {max_resident}; "
                "raise it, or leave it out to keep all in memory"
            )
        if memory_budget is not None and memory_budget < max(sizes):
            raise UserError(
                f"memory_budget must have room for the largest specialist, {max(sizes)} bytes, got {memory_budget}; "
                "raise it, or leave it out to keep all in memory"
            )
        self._open_one = open_one
        self._sizes = sizes
        self._most = len(sizes) if max_resident is None else max_resident
        self._budget = sum(sizes) if memory_budget is None else memory_budget
        self._open: OrderedDict[int, T] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def resident(self) -> tuple[int, ...]:
        """Numbers of those that are open, the one used last at the end."""
        with self._lock:
            return tuple(self._open)

    @property
    def bytes(self) -> int:
        """Size of those that are open."""
        with self._lock:
            return sum(self._sizes[k] for k in self._open)

    def __getitem__(self, k: int) -> T:
        with self._lock:
            if k not in self._open:
                # Room is made first, so that the limits hold at every moment.
                while self._open and not self._has_room(self._sizes[k]):
                    self._open.popitem(last=False)
                self._open[k] = self._open_one(k)
            self._open.move_to_end(k)
            return self._open[k]

    @contextmanager
    def held(self) -> Iterator[list[T]]:
        """Give what is open; until the context ends nothing is opened or let go."""
        with self._lock:
            yield list(self._open.values())

    def _has_room(self, size: int) -> bool:
        return len(self._open) < self._most and self.bytes + size <= self._budget

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._open.clear()
