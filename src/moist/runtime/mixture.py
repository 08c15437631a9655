"""Routes inputs to the graphs of an exported mixture and puts the answers in order."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from pathlib import Path

import numpy as np

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
        threads: that one run may use.
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
        self._shared: dict[str, Graph] = {}
        self._lock = threading.Lock()
        self._limited = max_resident is not None or memory_budget is not None
        # Specialists that come and go are kept as they were opened first, in a folder that goes with this object.
        self._kept = self._folder() if self._limited else None
        sizes = [exported.size(graph) for graph in exported.specialists]
        self.residents: Residents[Graph] = Residents(self._open_specialist, sizes, max_resident, memory_budget)
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

    def _open(self, graph: ExportedGraph, *, frugal: bool = False) -> Graph:
        path = self._exported.checked(graph)
        return open_graph(path, runtime=self._runtime, threads=self._threads, frugal=frugal)

    def _open_specialist(self, k: int) -> Graph:
        graph = self._exported.specialists[k]
        if self._kept is None:
            return self._open(graph, frugal=self._limited)
        kept = self._kept / f"{k}.onnx"
        path = kept if kept.exists() else self._exported.checked(graph)
        return open_graph(path, runtime=self._runtime, threads=self._threads, frugal=True, keep=kept)

    def _graph(self, graph: ExportedGraph) -> Graph:
        opened = self._shared.get(graph.file)
        if opened is None:
            with self._lock:
                if graph.file not in self._shared:
                    self._shared[graph.file] = self._open(graph)
                opened = self._shared[graph.file]
        return opened

    def run_one(self, inputs: np.ndarray) -> Answer:
        """Answer one input (1, ...)."""
        if self._limited or len(self.residents) > MOST_BRANCHES:
            return self.run(inputs)
        outputs = self._graph(self._exported.routed).run([inputs])
        return outputs[0], outputs[1], outputs[2] if len(outputs) > 2 else self._never

    def run(self, inputs: np.ndarray) -> Answer:
        """Answer inputs (N, ...): each specialist runs once, on the rows that go to it."""
        features, domains, *weights = self._graph(self._exported.router).run([inputs])
        probabilities = self._combined(features, domains, weights[0] if domains.shape[1] > 1 else None)
        return self._defer(inputs, probabilities, domains)

    def _combined(self, features: np.ndarray, domains: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Return probabilities (N, C), the mean by weight over each row's specialists (None: it has one)."""
        if len(domains) == 1 and domains.shape[1] == 1:
            return self.residents[int(domains[0, 0])].run([features])[0]
        num_rows, top_k = domains.shape
        flat = domains.ravel()
        order = np.argsort(flat, kind="stable")
        grouped = features[order // top_k]
        counts = np.bincount(flat, minlength=len(self.residents))
        ends = np.cumsum(counts)
        groups = [(k, grouped[ends[k] - counts[k] : ends[k]]) for k in np.flatnonzero(counts)]
        answers = np.concatenate([self.residents[int(k)].run([rows])[0] for k, rows in groups])
        ordered = np.empty_like(answers)
        ordered[order] = answers
        if weights is None:
            return ordered
        each: np.ndarray = ordered.reshape(num_rows, top_k, -1) * weights[:, :, None]
        mean: np.ndarray = each.sum(axis=1)
        return mean

    def _defer(self, inputs: np.ndarray, probabilities: np.ndarray, domains: np.ndarray) -> Answer:
        if self._threshold is None:
            return probabilities, domains, np.zeros(len(inputs), dtype=np.bool_)
        doubtful = probabilities.max(axis=1) < self._threshold
        generalist = self._exported.generalist
        if generalist is not None and doubtful.any():
            second = self._graph(generalist).run([inputs[doubtful]])[0]
            probabilities = probabilities.copy()
            probabilities[doubtful] = (probabilities[doubtful] + second) / 2
        return probabilities, domains, doubtful

    def votes(self, inputs: np.ndarray) -> np.ndarray:
        """Return every specialist's probabilities (K, C) for one input (1, ...)."""
        features = self._graph(self._exported.router).run([inputs])[0]
        return np.concatenate([self.residents[k].run([features])[0] for k in range(len(self.residents))])
