"""Jobs: pure, content-addressed pieces of work that run in parallel processes and survive being killed.

A job is a function named by its import path, a JSON payload, and a folder. Its ``done.json`` is written last: where it
exists, and was written for the same payload, the job is not run again.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from threadpoolctl import threadpool_limits

from moist.config import Settings
from moist.progress import Advance, JobsDisplay, jobs_display, say
from moist.storage import content_key, read_json, write_json
from moist.types import UserError

__all__ = ["Job", "JobFailed", "JobResult", "JobsSettings", "run_jobs"]

Payload = dict[str, Any]
JobFunction = Callable[[Payload, Path, Advance], dict[str, Any]]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
STOPPED = 143  # what a shell reports after SIGTERM
# 137 is a shell's word for SIGKILL; 255 is what is left to say of a worker whose fork server was killed.
KILLED = (137, STOPPED, 255)


class JobsSettings(Settings):
    """How many processes jobs run in."""

    workers: int = Field(0, ge=0, description="processes at once; 0 for as many as the free cores have `threads` for")
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


@dataclass
class _Running:
    job: Job
    process: BaseProcess
    channel: Connection
    attempt: int
    error: tuple[str, str] | None = field(default=None)


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


def run_jobs(jobs: Sequence[Job], settings: JobsSettings, *, quiet: bool = False) -> dict[str, JobResult]:
    """Run jobs in parallel processes, each after those it depends on, and return the results by name.

    Jobs start in the given order as far as dependencies allow. A job whose process is killed is started again and
    resumes from its own checkpoint. On Ctrl-C every job saves its state and stops. As always with processes, a script
    must make this call under ``if __name__ == "__main__":``.

    Raises:
        UserError: a job met an error that the user can mend.
        JobFailed: a job raised any other error, or was killed more than ``settings.retries`` times.
        ValueError: two jobs share a name, or they can never be put in order.
    """
    _check_order(jobs)
    pool = _Pool(settings, preload=[__name__, *sorted({job.function.partition(":")[0] for job in jobs})])
    results = {job.name: result for job in jobs if (result := finished(job)) is not None}
    waiting = [job for job in jobs if job.name not in results]
    with jobs_display(len(jobs), done=len(results), quiet=quiet) as display:
        try:
            while waiting or pool.running:
                for job in [job for job in waiting if all(name in results for name in job.after)]:
                    if pool.full:
                        break
                    waiting.remove(job)
                    pool.start(job)
                    display.start(job.name)
                for job, result in pool.poll(display):
                    results[job.name] = result
                    display.finish(job.name)
        finally:
            pool.stop()
    return results


def _check_order(jobs: Sequence[Job]) -> None:
    names = [job.name for job in jobs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"jobs must have different names, got {', '.join(twice)} twice; rename them")
    unknown = sorted({name for job in jobs for name in job.after}.difference(names))
    if unknown:
        raise ValueError(f"jobs run after jobs of the same call, got {', '.join(unknown)}; add them")
    try:
        TopologicalSorter({job.name: job.after for job in jobs}).prepare()
    except CycleError as error:
        raise ValueError(f"jobs must not wait for each other, got {' after '.join(error.args[1])}; cut it") from None


class _Pool:
    """One process per job, at most ``workers`` at a time."""

    def __init__(self, settings: JobsSettings, preload: list[str]) -> None:
        self.settings = settings
        self.workers = settings.workers or max(1, free_cores() // settings.threads)
        self.running: list[_Running] = []
        # A fork server starts workers in milliseconds, with the libraries already loaded and no threads to inherit.
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self.context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self.context.set_forkserver_preload(preload)

    @property
    def full(self) -> bool:
        return len(self.running) >= self.workers

    def start(self, job: Job, attempt: int = 0) -> None:
        ours, theirs = self.context.Pipe()
        arguments = (job.function, job.payload, str(job.folder), job.key, self.settings.threads, theirs)
        process = self.context.Process(target=_work, args=arguments, name=job.name, daemon=True)
        try:
            with _thread_environment(self.settings.threads):
                process.start()
        except (EOFError, ConnectionError) as error:
            ours.close()
            raise JobFailed(
                f"the process of job {job.name!r} could not be started, since the process that starts all others ended "
                f"({type(error).__name__}: {error}); see what it printed. If memory ran out, lower jobs.workers, then "
                "run the same command again to go on"
            ) from error
        finally:
            theirs.close()
        self.running.append(_Running(job, process, ours, attempt))

    def poll(self, display: JobsDisplay) -> list[tuple[Job, JobResult]]:
        """Wait for news and return the jobs that finished."""
        wait([item for run in self.running for item in (run.channel, run.process.sentinel)], timeout=1.0)
        done = []
        for run in list(self.running):
            self._listen(run, display)
            if not run.process.is_alive():
                self._listen(run, display)
                self.running.remove(run)
                result = self._conclude(run)
                if result is not None:
                    done.append((run.job, result))
        return done

    def _listen(self, run: _Running, display: JobsDisplay) -> None:
        with suppress(EOFError, OSError):
            while run.channel.poll():
                kind, *content = run.channel.recv()
                if kind == "error":
                    run.error = (content[0], content[1])
                else:
                    display.update(run.job.name, *content)

    def _conclude(self, run: _Running) -> JobResult | None:
        run.process.join()
        run.channel.close()
        result = finished(run.job)
        if result is not None:
            return result
        if run.error is not None:
            kind, text = run.error
            if kind == "user":
                raise UserError(f"{run.job.name}: {text}")
            raise JobFailed(f"job {run.job.name!r} failed:\n{text}")
        code = run.process.exitcode
        if code is not None and code >= 0 and code not in KILLED:
            raise JobFailed(
                f"the process of job {run.job.name!r} ended without a result (exit code {code}); see what it printed. "
                'A script that starts jobs must do so under if __name__ == "__main__"'
            )
        if run.attempt >= self.settings.retries:
            raise JobFailed(
                f"the process of job {run.job.name!r} was killed {run.attempt + 1} times (exit code {code}); if memory "
                "ran out, lower jobs.workers or training.batch_size, then run the same command again to go on"
            )
        say(f"{run.job.name}: its process was killed (exit code {code}); starting it again")
        self.start(run.job, run.attempt + 1)
        return None

    def stop(self) -> None:
        """End what still runs; each job saves its state on SIGTERM."""
        for run in self.running:
            run.process.terminate()
        for run in self.running:
            run.process.join(timeout=10)
            if run.process.is_alive():
                run.process.kill()
                run.process.join()
        self.running = []


@contextmanager
def _thread_environment(threads: int) -> Iterator[None]:
    """Give child processes the thread count through the environment, before they load any library."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(function: str, payload: Payload, folder: str, key: str, threads: int, channel: Connection) -> None:
    """Run one job in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    reporter = _Reporter(channel)
    signal.signal(signal.SIGTERM, reporter.request_stop)
    start = time.monotonic()
    place, before = Path(folder), 0.0
    try:
        before = _own_folder(place, key)
        _limit_threads(threads)
        module, _, name = function.partition(":")
        call: JobFunction = getattr(importlib.import_module(module), name)
        value = call(payload, place, reporter)
        write_json(place / "done.json", {"key": key, "seconds": before + time.monotonic() - start, "value": value})
    except UserError as error:
        _report_error(channel, "user", str(error))
    except SystemExit as error:
        if error.code == STOPPED:
            # On a full disk the time is lost, and nothing else.
            with suppress(UserError):
                write_json(place / "job.json", {"key": key, "seconds": before + time.monotonic() - start})
        raise
    except Exception:
        _report_error(channel, "bug", traceback.format_exc())


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


def _report_error(channel: Connection, kind: str, text: str) -> None:
    with suppress(OSError):
        channel.send(("error", kind, text))
    sys.exit(1)


def _limit_threads(threads: int) -> None:
    # A fork server that an earlier call started has that call's environment, so the libraries are told as well.
    threadpool_limits(threads)
    torch.set_num_threads(threads)


class _Reporter:
    """Send progress to the parent, a few times a second; stop when the parent is gone or asks for it.

    SIGTERM only leaves a note: the job stops at its next report, where its state is whole and can be saved.
    """

    def __init__(self, channel: Connection) -> None:
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
