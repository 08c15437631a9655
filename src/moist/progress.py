"""Progress on long work: a bar with the time left on a terminal, a plain line now and then in a log file.

Progress goes to stderr, so that results on stdout stay clean.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["Advance", "progress_bar", "say", "track"]

T = TypeVar("T")
LOG_EVERY_SECONDS = 15.0


class Advance(Protocol):
    """Report that ``steps`` more units are done, with an optional note such as the current loss."""

    def __call__(self, steps: float = 1, note: str = "") -> None: ...


def _console() -> Console:
    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Print one line to stderr."""
    _console().print(message, markup=False)


@contextmanager
def progress_bar(description: str, total: float, *, quiet: bool = False) -> Iterator[Advance]:
    """Show the progress of ``total`` units of work; yields the function that advances it."""
    console = _console()
    if quiet:
        yield lambda steps=1, note="": None
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(description, total=total, note="")

            def advance(steps: float = 1, note: str = "") -> None:
                bar.update(task, advance=steps, note=note)

            yield advance
    else:
        yield _line_printer(console, description, total)


def _line_printer(console: Console, description: str, total: float) -> Advance:
    start = last = time.monotonic()
    done = 0.0

    def advance(steps: float = 1, note: str = "") -> None:
        nonlocal last, done
        done += steps
        now = time.monotonic()
        if now - last >= LOG_EVERY_SECONDS or done >= total:
            last = now
            left = (now - start) / max(done, 1e-9) * max(total - done, 0)
            console.print(f"{description}: {done:g}/{total:g}, {left:.0f} s left {note}".rstrip(), markup=False)

    return advance


def track(items: Iterable[T], description: str, total: int, *, quiet: bool = False) -> Iterator[T]:
    """Yield ``items`` while showing how many of ``total`` are done."""
    with progress_bar(description, total, quiet=quiet) as advance:
        for item in items:
            yield item
            advance()
