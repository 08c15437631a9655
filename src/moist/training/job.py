"""What a job is, and how a process, whoever started it, works on one.

A job is a function named by its import path, a JSON payload, and a folder. Its ``done.json`` is written last: where it
exists, and was written for the same payload, the job is not run again.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol

import torch
from pydantic import Field
from threadpoolctl import threadpool_limits

from moist.config import Settings
from moist.progress import Advance, say
from moist.storage import content_key, read_json, write_json
from moist.types import UserError

__all__ = [
    "STOPPED",
    "THREAD_VARIABLES",
    "Job",
    "JobFailed",
    "JobResult",
    "JobsSettings",
    "Order",
    "Problem",
    "finished",
    "free_cores",
    "order_of",
    "perform",
    "raise_problem",
    "tell_of_retry",
]

Payload = dict[str, Any]
JobFunction = Callable[[Payload, Path, Advance], dict[str, Any]]
Problem = tuple[str, str]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
STOPPED = 143  # what a shell reports after SIGTERM


class Channel(Protocol):
    """Where progress is sent to; an OSError tells that nobody listens any more, and the job saves and stops."""

    def send(self, message: tuple[Any, ...], /) -> None: ...


class JobsSettings(Settings):
    """Where jobs run, and how many at once."""

    backend: Literal["local", "ray"] = Field(
        "local",
        description="`local` processes, or the `ray` cluster of RAY_ADDRESS (without one, a local Ray is started)",
    )
    workers: int = Field(
        0, ge=0, description="processes at once; 0 for as many as the free cores (or the cluster) have `threads` for"
    )
    threads: int = Field(1, ge=1, description="threads of each process")
    retries: int = Field(2, ge=0, description="how often a job is run again after its process was killed")


class JobFailed(RuntimeError):
    """A job raised an error, or its process was killed too often."""


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Args:
        name: what to call it on the screen; unique among the jobs of a call.
        function: import path ``module:function`` of ``f(payload, folder, advance) -> JSON result``.
        payload: everything that the result depends on, as JSON.
        folder: where it keeps its files; the folder's ``done.json`` tells that it is complete.
        after: names of jobs whose results it reads.
    """

    name: str
    function: str
    payload: Payload
    folder: Path
    after: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return content_key(self.function, self.payload)


@dataclass(frozen=True)
class JobResult:
    """What a finished job returned, and how long it took, in all its attempts but those killed outright."""

    value: dict[str, Any]
    seconds: float
    folder: Path


def finished(job: Job) -> JobResult | None:
    """Return the job's result if its folder holds one made for the same payload."""
    marker = job.folder / "done.json"
    if not marker.exists():
        return None
    done = read_json(marker)
    return JobResult(done["value"], done["seconds"], job.folder) if done.get("key") == job.key else None


def free_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Order:
    """All that a worker must know of a job."""

    function: str
    payload: Payload
    folder: str
    key: str
    threads: int


def order_of(job: Job, threads: int) -> Order:
    """Return what a worker with ``threads`` threads must know of ``job``."""
    return Order(job.function, job.payload, str(job.folder), job.key, threads)


def raise_problem(job: Job, problem: Problem) -> NoReturn:
    """Pass on the error that a worker met."""
    kind, text = problem
    if kind == "user":
        raise UserError(f"{job.name}: {text}")
    raise JobFailed(f"job {job.name!r} failed:\n{text}")


def tell_of_retry(job: Job, attempt: int, retries: int, how: str) -> None:
    """Say that a job whose process was killed starts again.

    Raises:
        JobFailed: it was killed more than ``retries`` times.
    """
    if attempt >= retries:
        raise JobFailed(
            f"the process of job {job.name!r} was killed {attempt + 1} times ({how}); if memory "
            "ran out, lower jobs.workers or training.batch_size, then run the same command again to go on"
        )
    say(f"{job.name}: its process was killed ({how}); starting it again")


def perform(order: Order, channel: Channel) -> Problem | None:
    """Run one job in this process, whose signals it takes over.

    Returns:
        None when ``done.json`` is written, else the kind of error, ``user`` or ``bug``, and its text.

    Raises:
        SystemExit: the job was told to stop, and has saved its state.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    reporter = _Reporter(channel)
    signal.signal(signal.SIGTERM, reporter.request_stop)
    start = time.monotonic()
    place, before = Path(order.folder), 0.0
    try:
        before = _own_folder(place, order.key)
        _limit_threads(order.threads)
        module, _, name = order.function.partition(":")
        call: JobFunction = getattr(importlib.import_module(module), name)
        value = call(order.payload, place, reporter)
        write_json(
            place / "done.json", {"key": order.key, "seconds": before + time.monotonic() - start, "value": value}
        )
    except UserError as error:
        return "user", str(error)
    except SystemExit as error:
        if error.code == STOPPED:
            # On a full disk the time is lost, and nothing else.
            with suppress(UserError):
                write_json(place / "job.json", {"key": order.key, "seconds": before + time.monotonic() - start})
        raise
    except Exception:
        return "bug", traceback.format_exc()
    return None


def _own_folder(folder: Path, key: str) -> float:
    """Make the job's folder, without what another payload or a killed process left there.

    A checkpoint of another payload must not be resumed, and a process that is killed while it writes leaves a part.

    Returns:
        The seconds that earlier attempts took.
    """
    marker = folder / "job.json"
    known = read_json(marker) if marker.exists() else {}
    if folder.exists() and known.get("key") != key:
        shutil.rmtree(folder)
        known = {}
    folder.mkdir(parents=True, exist_ok=True)
    for part in folder.glob(".*.partial"):
        part.unlink(missing_ok=True)
    before = float(known.get("seconds", 0.0))
    write_json(marker, {"key": key, "seconds": before})
    return before


def _limit_threads(threads: int) -> None:
    # A fork server that an earlier call started has that call's environment, so the libraries are told as well.
    threadpool_limits(threads)
    torch.set_num_threads(threads)


class _Reporter:
    """Send progress to the parent, a few times a second; stop when the parent is gone or asks for it.

    SIGTERM only leaves a note: the job stops at its next report, where its state is whole and can be saved.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.stopping = False
        self.done = 0.0
        self.sent_at = 0.0

    def __call__(self, steps: float = 1, note: str = "", total: float | None = None) -> None:
        if self.stopping:
            raise SystemExit(STOPPED)
        self.done += steps
        now = time.monotonic()
        if now - self.sent_at < 0.3 and total is None:
            return
        self.sent_at = now
        try:
            self.channel.send(("progress", self.done, total, note))
        except OSError:
            raise SystemExit(STOPPED) from None

    def request_stop(self, *_: object) -> None:
        self.stopping = True
