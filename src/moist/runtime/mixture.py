"""Routes inputs to the graphs of an exported mixture and puts the answers in order."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from moist.runtime.crew import Crew
from moist.runtime.engine import Graph, RuntimeName, open_graph
from moist.runtime.exported import Exported, ExportedGraph
from moist.runtime.residents import Residents

__all__ = ["GroupedMixture"]

# Probabilities (N, C), domains (N, top_k), deferred (N,).
Answer = tuple[np.ndarray, np.ndarray, np.ndarray]
# The routed graph's choice takes log2 K steps; behind so many branches, two graphs, one after the other, are no slower.
MOST_BRANCHES = 8


class GroupedMixture:
    """The graphs of an export, each opened when it is first needed.

    Args:
        exported: the export.
        runtime: the library that runs the graphs.
        max_resident: most specialists that are open at once.
        memory_budget: most bytes of specialists that are open at once.
        threads: that one call may use: one input's routed graph in itself, a batch by sharing its rows out among them.
    """

    def __init__(
        self,
        exported: Exported,
        runtime: RuntimeName,
        max_resident: int | None,
        memory_budget: int | None,
        threads: int,
    ) -> None:
        self._exported = exported
        self._runtime: RuntimeName = runtime
        self._threads = threads
        self._crew = Crew(threads)
        self._shared: dict[str, Graph] = {}
        self._lock = threading.Lock()
        self._limited = max_resident is not None or memory_budget is not None
        # Specialists that come and go are kept as they were opened first, in a folder that goes with this object.
        self._kept = self._folder() if self._limited else None
        sizes = [exported.size(graph) for graph in exported.specialists]
        self.residents: Residents[Graph] = Residents(self._open_specialist, sizes, max_resident, memory_budget)
        self._num_classes = len(exported.manifest["classes"])
        threshold = exported.manifest["threshold"]
        self._threshold = None if threshold is None else np.float32(threshold)
        self._never = np.zeros(1, dtype=np.bool_)

    def _folder(self) -> Path | None:
        """Return a folder that goes with this object; None where nothing can be written."""
        try:
            folder = Path(tempfile.mkdtemp(prefix="moist-"))
        except OSError:
            return None
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _open(self, path: Path, *, frugal: bool = False, keep: Path | None = None) -> Graph:
        """Open a graph of which every thread of the crew runs its own part of a batch."""
        return open_graph(path, runtime=self._runtime, streams=self._threads, frugal=frugal, keep=keep)

    def _open_routed(self, path: Path) -> Graph:
        return open_graph(path, runtime=self._runtime, threads=self._threads)

    def _open_specialist(self, k: int) -> Graph:
        graph = self._exported.specialists[k]
        kept = None if self._kept is None else self._kept / f"{k}.onnx"
        path = kept if kept is not None and kept.exists() else self._exported.checked(graph)
        return self._open(path, frugal=self._limited, keep=kept)

    def _graph(self, graph: ExportedGraph) -> Graph:
        opened = self._shared.get(graph.file)
        if opened is None:
            with self._lock:
                if graph.file not in self._shared:
                    open_it = self._open_routed if graph is self._exported.routed else self._open
                    self._shared[graph.file] = open_it(self._exported.checked(graph))
                opened = self._shared[graph.file]
        return opened

    def run_one(self, inputs: np.ndarray) -> Answer:
        """Answer one input (1, ...)."""
        if not self._limited and len(self.residents) <= MOST_BRANCHES:
            outputs = self._graph(self._exported.routed).run([inputs])
            return outputs[0], outputs[1], outputs[2] if len(outputs) > 2 else self._never
        routed = self._graph(self._exported.router).run([inputs])
        domains = routed[1]
        if domains.size > 1 or self._threshold is not None:
            return self._defer(inputs, self._combined([routed], domains), domains)
        # The way of most single inputs, and every call counts: the graphs may take no longer than some lines of Python.
        return self._ask(int(domains[0, 0]), routed[0]), domains, self._never

    def run(self, inputs: np.ndarray) -> Answer:
        """Answer inputs (N, ...): each specialist runs only on the rows that go to it."""
        router = self._graph(self._exported.router)
        routed = self._crew.each(lambda part: router.run([inputs[part]]), self._crew.parts(len(inputs)))
        domains = np.concatenate([part[1] for part in routed])
        return self._defer(inputs, self._combined(routed, domains), domains)

    def _combined(self, routed: Sequence[Sequence[np.ndarray]], domains: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C), the mean by weight over each row's specialists.

        Args:
            routed: what the router says of each part of the rows: features, domains and, where top_k > 1, weights.
            domains: of all rows (N, top_k).
        """
        num_rows, top_k = domains.shape
        answers = np.empty((num_rows, top_k, self._num_classes), dtype=np.float32)

        def ask(group: _Group) -> None:
            rows, places = group.rows, group.places
            features = routed[group.part][0]
            answers[group.start + rows, places] = self._ask(group.specialist, features[rows])

        groups = _groups([part[1] for part in routed])
        # Threads that want several specialists at once would wait for each other where they must make room.
        turns = _by_specialist(groups) if self._limited else [groups]
        for turn in turns:
            self._crew.each(ask, turn)
        if top_k == 1:
            return answers[:, 0]
        mean: np.ndarray = (answers * np.concatenate([part[2] for part in routed])[:, :, None]).sum(axis=1)
        return mean

    def _defer(self, inputs: np.ndarray, probabilities: np.ndarray, domains: np.ndarray) -> Answer:
        if self._threshold is None:
            return probabilities, domains, np.zeros(len(inputs), dtype=np.bool_)
        doubtful = probabilities.max(axis=1) < self._threshold
        generalist = self._exported.generalist
        if generalist is not None and doubtful.any():
            graph, asked = self._graph(generalist), inputs[doubtful]
            parts = self._crew.each(lambda part: graph.run([asked[part]])[0], self._crew.parts(len(asked)))
            probabilities = probabilities.copy()
            probabilities[doubtful] = (probabilities[doubtful] + np.concatenate(parts)) / 2
        return probabilities, domains, doubtful

    def votes(self, inputs: np.ndarray) -> np.ndarray:
        """Return every specialist's probabilities (K, C) for one input (1, ...)."""
        features = self._graph(self._exported.router).run([inputs])[0]
        return np.concatenate([self._ask(k, features) for k in range(len(self.residents))])

    def _ask(self, k: int, features: np.ndarray) -> np.ndarray:
        """Return specialist k's probabilities (N, C)."""
        return self.residents.use(k, lambda specialist: specialist.run([features])[0])


@dataclass(frozen=True)
class _Group:
    """Rows of one part of a batch that go to one specialist.

    Args:
        specialist: its number.
        part: number of the part.
        start: of the part in the batch.
        rows: in the part.
        places: of the specialist among each row's specialists.
    """

    specialist: int
    part: int
    start: int
    rows: np.ndarray
    places: np.ndarray


def _groups(domains: Sequence[np.ndarray]) -> list[_Group]:
    """Return the groups of a batch whose parts go to ``domains`` (N, top_k) each; those of one specialist together."""
    groups, start = [], 0
    for number, part in enumerate(domains):
        flat = part.ravel()
        order = np.argsort(flat, kind="stable")
        ends = np.cumsum(np.bincount(flat))
        for k, end in enumerate(ends):
            mine = order[ends[k - 1] if k else 0 : end]
            if len(mine):
                groups.append(_Group(k, number, start, *np.divmod(mine, part.shape[1])))
        start += len(part)
    return sorted(groups, key=lambda group: group.specialist)


def _by_specialist(groups: Sequence[_Group]) -> list[list[_Group]]:
    return [list(same) for _, same in groupby(groups, key=lambda group: group.specialist)]
