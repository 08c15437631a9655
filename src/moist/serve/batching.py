"""Adaptive batching: the model takes whatever waits when it becomes free, and never waits for more.

A lone client is answered at once; under load the batches grow by themselves, since more waits while one runs. There is
no window to tune.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moist.runtime import RoutedPrediction
from moist.serve.models import ServedModel
from moist.serve.refusal import Refusal

__all__ = ["Batcher"]

BRIEF_SECONDS = 0.005


@dataclass(eq=False)
class _Waiting:
    model: ServedModel
    raw: Any
    count: int
    votes: bool
    deadline: float
    future: asyncio.Future[Any]


Outcome = tuple["asyncio.Future[Any]", Any, "BaseException | None"]


class Batcher:
    """One thread that runs the model, and the queue before it. All methods but the thread's belong to the event loop.

    Args:
        max_batch: most inputs that run at once.
        max_queue: inputs that may wait.
        timeout: seconds that one may wait.
        on_batch: told of the size of every batch and its seconds.
    """

    def __init__(self, max_batch: int, max_queue: int, timeout: float, on_batch: Callable[[int, float], None]) -> None:
        self.max_batch, self.max_queue, self.timeout = max_batch, max_queue, timeout
        self._on_batch = on_batch
        self._queue: deque[_Waiting] = deque()
        self._waiting_rows = 0
        self._seconds_per_row = 0.001
        self._news = threading.Condition()
        self._stopping = self._busy = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start the thread; called from the event loop that submits."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="moist-model", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish what waits, then end the thread."""
        with self._news:
            self._stopping = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()

    @property
    def waiting(self) -> int:
        """Inputs in the queue."""
        return self._waiting_rows

    def check_room(self, rows: int = 1) -> None:
        """Refuse where ``rows`` more inputs do not fit into the queue; an empty queue takes any request.

        Raises:
            Refusal: 503, with the seconds in which the queue should be worked off.
        """
        if self._queue and self._waiting_rows + rows > self.max_queue:
            raise Refusal(503, "the server is at its limit; try again later", self.retry_after())

    def retry_after(self) -> int:
        """Return the whole seconds, at least 1, in which what waits should be done."""
        return max(1, math.ceil(self._waiting_rows * self._seconds_per_row))

    def submit(self, model: ServedModel, raw: Any, *, votes: bool = False) -> asyncio.Future[Any]:
        """Queue the inputs of one request.

        Returns:
            A future of :class:`RoutedPrediction`; with ``votes`` (of one input) of an array (K, C).

        Raises:
            Refusal: the queue is full.
        """
        count = len(raw)
        self.check_room(count)
        assert self._loop is not None
        future: asyncio.Future[Any] = self._loop.create_future()
        with self._news:
            self._queue.append(_Waiting(model, raw, count, votes, time.monotonic() + self.timeout, future))
            self._waiting_rows += count
            self._news.notify()
        return future

    def answer_now(self, model: ServedModel, raw: Any) -> RoutedPrediction | None:
        """Answer on the event loop itself, which saves a lone client two changes of thread.

        Returns:
            None where that would keep others waiting: something waits or runs already, or it would take long.
        """
        if self._queue or self._busy or len(raw) * self._seconds_per_row > BRIEF_SECONDS:
            return None
        started = time.monotonic()
        answer = model.session.predict(raw)
        self._note(len(raw), time.monotonic() - started)
        return answer

    def _note(self, rows: int, seconds: float) -> None:
        self._seconds_per_row += 0.1 * (seconds / rows - self._seconds_per_row)
        self._on_batch(rows, seconds)

    def _work(self) -> None:
        assert self._loop is not None
        while batch := self._drain():
            outcomes = self._run(batch)
            with self._news:
                self._busy = False  # before the answers are out: whoever gets one may ask again at once
            self._loop.call_soon_threadsafe(_deliver, outcomes)

    def _drain(self) -> list[_Waiting]:
        """Wait for a request, and take with it what waits behind it and fits; empty when the server stops."""
        with self._news:
            while not self._queue and not self._stopping:
                self._news.wait()
            self._busy = True
            batch: list[_Waiting] = []
            rows = 0
            while self._queue and (not batch or self._joins(batch[0], self._queue[0], rows)):
                batch.append(self._queue.popleft())
                rows += batch[-1].count
            self._waiting_rows -= rows
            return batch

    def _joins(self, first: _Waiting, next_one: _Waiting, rows: int) -> bool:
        same = next_one.model is first.model and not (next_one.votes or first.votes)
        return same and rows + next_one.count <= self.max_batch

    def _run(self, batch: Sequence[_Waiting]) -> list[Outcome]:
        now = time.monotonic()
        late = [item for item in batch if item.deadline < now]
        live = [item for item in batch if item.deadline >= now]
        refusal = Refusal(
            503, f"the request waited {self.timeout:g} s for its turn; try again later", self.retry_after()
        )
        outcomes: list[Outcome] = [(item.future, None, refusal) for item in late]
        if live:
            outcomes += _answer(live)
            self._note(sum(item.count for item in live), time.monotonic() - now)
        return outcomes


def _answer(batch: Sequence[_Waiting]) -> list[Outcome]:
    session = batch[0].model.session
    try:
        if batch[0].votes:
            return [(batch[0].future, session.votes(batch[0].raw), None)]
        answer = session.predict(_joined([item.raw for item in batch]))
    except Exception as error:
        if len(batch) == 1:
            return [(batch[0].future, None, error)]
        # One bad input must not spoil its neighbours' answers.
        return [outcome for item in batch for outcome in _answer([item])]
    outcomes: list[Outcome] = []
    stop = 0
    for item in batch:
        start, stop = stop, stop + item.count
        part = slice(start, stop)
        own = RoutedPrediction(
            answer.probabilities[part], answer.domain[part], answer.deferred[part], answer.macs[part]
        )
        outcomes.append((item.future, own, None))
    return outcomes


def _joined(parts: Sequence[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [text for part in parts for text in part]


def _deliver(outcomes: Sequence[Outcome]) -> None:
    for future, value, error in outcomes:
        if future.done():  # its client is gone
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
