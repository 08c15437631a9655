"""Progress on long work: a bar with the time left on a terminal, a plain line now and then in a log file.

Progress goes to stderr, so that results on stdout stay clean.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["Advance", "JobsDisplay", "jobs_display", "progress_bar", "say", "track"]

T = TypeVar("T")
LOG_EVERY_SECONDS = 15.0


class Advance(Protocol):
    """Report that ``steps`` more units are done, with an optional note, and the total once it is known."""

    def __call__(self, steps: float = 1, note: str = "", total: float | None = None) -> None: ...


def _console() -> Console:
    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Print one line to stderr."""
    _console().print(message, markup=False, soft_wrap=True)


@contextmanager
def progress_bar(description: str, total: float, *, quiet: bool = False) -> Iterator[Advance]:
    """Show the progress of ``total`` units of work; yields the function that advances it."""
    console = _console()
    if quiet:
        yield lambda steps=1, note="", total=None: None
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

            def advance(steps: float = 1, note: str = "", total: float | None = None) -> None:
                bar.update(task, advance=steps, note=note, total=total)

            yield advance
    else:
        yield _line_printer(console, description, total)


def _line_printer(console: Console, description: str, total: float) -> Advance:
    start = last = time.monotonic()
    done, whole = 0.0, total

    def advance(steps: float = 1, note: str = "", total: float | None = None) -> None:
        nonlocal last, done, whole
        done += steps
        whole = total or whole
        now = time.monotonic()
        if now - last >= LOG_EVERY_SECONDS or done >= whole:
            last = now
            left = (now - start) / max(done, 1e-9) * max(whole - done, 0)
            console.print(f"{description}: {done:g}/{whole:g}, {left:.0f} s left {note}".rstrip(), markup=False)

    return advance


def track(items: Iterable[T], description: str, total: int, *, quiet: bool = False) -> Iterator[T]:
    """Yield ``items`` while showing how many of ``total`` are done."""
    with progress_bar(description, total, quiet=quiet) as advance:
        for item in items:
            yield item
            advance()


class JobsDisplay(Protocol):
    """The progress of jobs that run side by side."""

    def start(self, name: str) -> None: ...

    def update(self, name: str, done: float, total: float | None, note: str) -> None: ...

    def finish(self, name: str) -> None: ...


@contextmanager
def jobs_display(num_jobs: int, *, done: int, quiet: bool = False) -> Iterator[JobsDisplay]:
    """Show ``num_jobs`` jobs, of which ``done`` are complete: a bar each on a terminal, lines in a log file."""
    console = _console()
    if quiet or not console.is_terminal:
        yield _JobLines(num_jobs, done, quiet=quiet)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        yield _JobBars(bars, num_jobs, done)


class _JobBars:
    def __init__(self, bars: Progress, num_jobs: int, done: int) -> None:
        self.bars = bars
        self.overall = bars.add_task("jobs", total=num_jobs, completed=done, note="")
        self.tasks: dict[str, TaskID] = {}

    def start(self, name: str) -> None:
        self.tasks[name] = self.bars.add_task(name, total=None, note="")

    def update(self, name: str, done: float, total: float | None, note: str) -> None:
        self.bars.update(self.tasks[name], completed=done, total=total, note=note)

    def finish(self, name: str) -> None:
        self.bars.remove_task(self.tasks.pop(name))
        self.bars.advance(self.overall)


class _JobLines:
    def __init__(self, num_jobs: int, done: int, *, quiet: bool) -> None:
        self.num_jobs, self.done, self.quiet = num_jobs, done, quiet
        self.totals: dict[str, float] = {}
        self.started: dict[str, float] = {}
        self.first: dict[str, float] = {}
        self.said: dict[str, float] = {}

    def _say(self, text: str) -> None:
        if not self.quiet:
            say(text)

    def start(self, name: str) -> None:
        self.started[name] = self.said[name] = time.monotonic()

    def update(self, name: str, done: float, total: float | None, note: str) -> None:
        whole = self.totals[name] = total or self.totals.get(name, 0.0)
        # A job that resumes did its first steps in another run: they tell nothing of this run's speed.
        fresh = done - self.first.setdefault(name, done)
        now = time.monotonic()
        if whole and fresh > 0 and now - self.said[name] >= LOG_EVERY_SECONDS:
            self.said[name] = now
            left = (now - self.started[name]) / fresh * (whole - done)
            self._say(f"{name}: {done:g}/{whole:g}, {left:.0f} s left {note}".rstrip())

    def finish(self, name: str) -> None:
        self.done += 1
        self._say(f"[{self.done}/{self.num_jobs}] {name}: {time.monotonic() - self.started[name]:.0f} s")
