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
R = TypeVar("R")


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
        self._users = [0] * len(sizes)
        self._entrance = threading.Lock()
        self._lock = threading.RLock()
        self._freed = threading.Condition(self._lock)
        self._awaited = False

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
        """Return number k, which may be let go at any time: what the caller then still holds is above the limits."""
        return self.use(k, lambda found: found)

    def use(self, k: int, work: Callable[[T], R]) -> R:
        """Return what the work makes of number k, which stays until then.

        Where all that could make room are in use, wait for one, not overtaken by others. The work must not use another
        number, lest two wait for each other.
        """
        found = self._take(k)
        try:
            return work(found)
        finally:
            del found  # before another takes its place
            self._give_back(k)

    def _take(self, k: int) -> T:
        with self._lock:
            if k in self._open and not self._awaited:
                return self._lend(k)
        with self._entrance, self._lock:
            while k not in self._open and not self._make_room(self._sizes[k]):
                self._awaited = True
                self._freed.wait()
                self._awaited = False
            if k not in self._open:
                self._open[k] = self._open_one(k)
            return self._lend(k)

    def _lend(self, k: int) -> T:
        self._open.move_to_end(k)
        self._users[k] += 1
        return self._open[k]

    def _give_back(self, k: int) -> None:
        with self._lock:
            self._users[k] -= 1
            if self._awaited:
                self._freed.notify()

    def _make_room(self, size: int) -> bool:
        """Let go of what nobody uses, the longest unused first, until there is room; return whether there is."""
        for k in list(self._open):
            if self._has_room(size):
                break
            if not self._users[k]:
                del self._open[k]
        return self._has_room(size)

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
