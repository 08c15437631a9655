"""Jobs on a Ray cluster: the one file that imports Ray.

The code that works on a job is that of the local processes, and it keeps all of its files in the job's folder, which
therefore must lie on a file system that every node of the cluster shares. A node that was taken for dead and yet goes
on does no harm: it writes the same bytes, each file in one step.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from moist.progress import JobsDisplay
from moist.training.job import (
    THREAD_VARIABLES,
    Job,
    JobFailed,
    JobResult,
    JobsSettings,
    Order,
    Problem,
    finished,
    order_of,
    perform,
    raise_problem,
    tell_of_retry,
)
from moist.types import UserError

try:
    import ray
    from ray import exceptions as ray_errors
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise UserError(
        'jobs.backend=ray needs the package ray, which is not installed; run: pip install "moist[ray]"'
    ) from error

__all__ = ["RayPool"]

# A job whose worker, node, or result was lost is run again; what else Ray reports is an error.
KILLED = (
    ray_errors.WorkerCrashedError,
    ray_errors.NodeDiedError,
    ray_errors.ObjectLostError,
    ray_errors.OutOfMemoryError,
    ray_errors.LocalRayletDiedError,
)
SAVE_SECONDS = 10.0  # to save a job's state in, after which it is ended
LAG_SECONDS = 10.0  # of a network file system, until a file of another node is seen
PATIENCE_SECONDS = 30.0  # of a worker whose driver does not answer


@dataclass
class _Running:
    job: Job
    attempt: int


class RayPool:
    """One Ray task per job, with as many CPUs as it has threads.

    Ray is asked in its usual way where the cluster is: a session that this process has, the address in
    ``RAY_ADDRESS``, or else a local cluster, started for the rest of this process.

    Args:
        settings: ``workers`` bounds the jobs at once; 0 for as many as the cluster has CPUs for at the moment.

    Raises:
        UserError: there is no cluster at the address.
    """

    def __init__(self, settings: JobsSettings) -> None:
        self.settings = settings
        self.running: dict[Any, _Running] = {}
        _connect()
        context = ray.get_runtime_context()
        self._board: Any = _board_of(context.get_node_id(), context.get_job_id())
        self._name = uuid.uuid4().hex
        self._news: Any = None  # what the board was asked for, and has not answered yet
        self._work: Any = ray.remote(_work).options(
            num_cpus=settings.threads,
            max_retries=0,  # attempts are counted here, as for local processes
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": dict.fromkeys(THREAD_VARIABLES, str(settings.threads))},
        )

    @property
    def full(self) -> bool:
        cpus = ray.cluster_resources().get("CPU", 0) if not self.settings.workers else 0
        return len(self.running) >= (self.settings.workers or max(1, int(cpus) // self.settings.threads))

    @property
    def busy(self) -> bool:
        return bool(self.running)

    def start(self, job: Job, attempt: int = 0) -> None:
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        order = order_of(job, self.settings.threads)
        task = self._work.remote(order, _BoardChannel(self._board, self._name, job.name), sys.path)
        self.running[task] = _Running(job, attempt)

    def poll(self, display: JobsDisplay) -> list[tuple[Job, JobResult]]:
        """Wait for news and return the jobs that finished."""
        ready, _ = ray.wait(list(self.running), num_returns=1, timeout=0.5)
        running = {run.job.name for run in self.running.values()}
        for name, content in self._take_news().items():
            if name in running:
                display.update(name, *content)
        done = []
        for task in ready:
            run = self.running.pop(task)
            result = self._conclude(task, run)
            if result is not None:
                done.append((run.job, result))
        return done

    def _take_news(self) -> dict[str, tuple[Any, ...]]:
        """Return what the board has answered by now: a finished job shall not wait for it, nor end with it."""
        news: dict[str, tuple[Any, ...]] = {}
        if self._news is not None:
            answered, _ = ray.wait([self._news], timeout=0)
            if not answered:
                return news
            with suppress(ray_errors.RayError):
                news = ray.get(self._news)
        self._news = self._board.take.remote(self._name)
        return news

    def _conclude(self, task: Any, run: _Running) -> JobResult | None:
        try:
            problem: Problem | None = ray.get(task)
        except KILLED as error:
            result = finished(run.job)
            if result is None:
                tell_of_retry(run.job, run.attempt, self.settings.retries, type(error).__name__)
                self.start(run.job, run.attempt + 1)
            return result
        except ray_errors.RayError as error:
            raise JobFailed(f"Ray could not run job {run.job.name!r}: {error}") from error
        if problem is not None:
            raise_problem(run.job, problem)
        return _wait_for_result(run.job)

    def stop(self) -> None:
        """End what still runs; each job saves its state at its next report."""
        if not ray.is_initialized():
            return
        told = self._board.stop.remote(self._name)
        if self.running:
            with suppress(ray_errors.RayError):
                ray.get(told, timeout=SAVE_SECONDS)
            _, left = ray.wait(list(self.running), num_returns=len(self.running), timeout=SAVE_SECONDS)
            for task in left:
                ray.cancel(task, force=True)
        self.running = {}


class _Board:
    """What the jobs of each pool last said of their progress, and which pools shall stop; lives on the driver's node.

    One for all pools of a session, since the process of a new one takes its seconds from the jobs that start with it.
    """

    def __init__(self) -> None:
        self.news: dict[str, dict[str, tuple[Any, ...]]] = {}
        self.stopped: set[str] = set()

    def tell(self, pool: str, job: str, content: tuple[Any, ...]) -> bool:
        if pool in self.stopped:
            return True
        self.news.setdefault(pool, {})[job] = content
        return False

    def take(self, pool: str) -> dict[str, tuple[Any, ...]]:
        return self.news.pop(pool, {})

    def stop(self, pool: str) -> None:
        self.stopped.add(pool)
        self.news.pop(pool, None)


@lru_cache(maxsize=1)
def _board_of(node: str, job: str) -> Any:  # noqa: ARG001
    """Return the board of the driver ``job`` on ``node``; it lives as long as this handle to it."""
    here = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(_Board).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()


@dataclass(frozen=True)
class _BoardChannel:
    """A job's line to the board."""

    board: Any
    pool: str
    job: str

    def send(self, message: tuple[Any, ...], /) -> None:
        try:
            stopped = ray.get(self.board.tell.remote(self.pool, self.job, message[1:]), timeout=PATIENCE_SECONDS)
        except ray_errors.RayError as error:
            raise ConnectionError("the driver is gone") from error
        if stopped:
            raise ConnectionAbortedError("the driver asks to stop")


def _work(order: Order, channel: _BoardChannel, path: list[str]) -> Problem | None:
    """Run one job in a Ray worker."""
    folder = Path(order.folder)
    if not folder.parent.is_dir():
        return "user", _not_shared(folder.parent)
    # Modules of the user are found as the driver finds them, but the node's own come first.
    sys.path.extend(entry for entry in path if entry not in sys.path)
    return perform(order, channel)


def _connect() -> None:
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told that MoIST runs, unless the user says so
    try:
        ray.init(logging_level=logging.WARNING)
    except (ConnectionError, ValueError) as error:
        address = os.environ.get("RAY_ADDRESS", "")
        raise UserError(
            f"RAY_ADDRESS must be that of a running Ray cluster, got {address!r} ({error}); start one with "
            "`ray start --head`, or unset it to run a local one"
        ) from error


def _wait_for_result(job: Job) -> JobResult:
    end = time.monotonic() + LAG_SECONDS
    while (result := finished(job)) is None:
        if time.monotonic() > end:
            raise UserError(f"{job.name}: {_not_shared(job.folder)}")
        time.sleep(0.1)
    return result


def _not_shared(folder: Path) -> str:
    return (
        f"every node of the Ray cluster must see the run's folder, but {folder} is not the same on all; put --out on a "
        "file system that they share"
    )
