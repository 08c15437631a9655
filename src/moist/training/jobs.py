"""Jobs: pure, content-addressed pieces of work that run in parallel processes and survive being killed."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from moist.importing import import_callable
from moist.progress import JobsDisplay, jobs_display
from moist.training.job import (
    STOPPED,
    THREAD_VARIABLES,
    Job,
    JobFailed,
    JobResult,
    JobsSettings,
    Order,
    finished,
    free_cores,
    order_of,
    perform,
    raise_problem,
    tell_of_retry,
)

__all__ = ["run_jobs"]

# 137 is a shell's word for SIGKILL; 255 is what is left to say of a worker whose fork server was killed.
KILLED = (137, STOPPED, 255)
# What torch imports at the first step of an optimizer, in seconds: once for all workers, not in each.
OPTIMIZERS_NEED = "torch._dynamo"


@dataclass
class _Running:
    job: Job
    process: BaseProcess
    channel: Connection
    attempt: int
    error: tuple[str, str] | None = field(default=None)


def run_jobs(jobs: Sequence[Job], settings: JobsSettings, *, quiet: bool = False) -> dict[str, JobResult]:
    """Run jobs in parallel, here or on a Ray cluster, each after those it depends on, and return the results by name.

    Jobs start in the given order as far as dependencies allow. A job whose process is killed is started again and
    resumes from its own checkpoint. On Ctrl-C every job saves its state and stops. As always with processes, a script
    must make this call under ``if __name__ == "__main__":``.

    Raises:
        UserError: a job met an error that the user can mend.
        JobFailed: a job raised any other error, or was killed more than ``settings.retries`` times.
        ValueError: two jobs share a name, or they can never be put in order.
    """
    _check_order(jobs)
    pool = _open_pool(settings, sorted({job.function.partition(":")[0] for job in jobs}))
    results = {job.name: result for job in jobs if (result := finished(job)) is not None}
    waiting = [job for job in jobs if job.name not in results]
    with jobs_display(len(jobs), done=len(results), quiet=quiet) as display:
        try:
            while waiting or pool.busy:
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


class _Pool(Protocol):
    """What runs jobs: processes of this machine, or a cluster."""

    @property
    def full(self) -> bool: ...

    @property
    def busy(self) -> bool: ...

    def start(self, job: Job, attempt: int = 0) -> None: ...

    def poll(self, display: JobsDisplay) -> list[tuple[Job, JobResult]]: ...

    def stop(self) -> None: ...


def _open_pool(settings: JobsSettings, modules: list[str]) -> _Pool:
    if settings.backend == "local":
        return _LocalPool(settings, preload=[__name__, OPTIMIZERS_NEED, *modules])
    # By name, since Ray is an extra.
    pool: _Pool = import_callable("moist.training.ray_pool:RayPool", "jobs.backend")(settings)
    return pool


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


class _LocalPool:
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

    @property
    def busy(self) -> bool:
        return bool(self.running)

    def start(self, job: Job, attempt: int = 0) -> None:
        ours, theirs = self.context.Pipe()
        arguments = (order_of(job, self.settings.threads), theirs)
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
            raise_problem(run.job, run.error)
        code = run.process.exitcode
        if code is not None and code >= 0 and code not in KILLED:
            raise JobFailed(
                f"the process of job {run.job.name!r} ended without a result (exit code {code}); see what it printed. "
                'A script that starts jobs must do so under if __name__ == "__main__"'
            )
        tell_of_retry(run.job, run.attempt, self.settings.retries, f"exit code {code}")
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


def _work(order: Order, channel: Connection) -> None:
    """Run one job in a process of its own."""
    problem = perform(order, channel)
    if problem is not None:
        with suppress(OSError):
            channel.send(("error", *problem))
        sys.exit(1)
