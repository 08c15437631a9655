"""What runs a graph: one protocol, and a library behind it that is loaded when it is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from moist.errors import UserError, nearest

__all__ = ["Graph", "RuntimeName", "open_graph"]

RuntimeName = Literal["onnxruntime", "openvino"]
# Each library is imported by one file, and only when it is asked for.
LIBRARIES = {"onnxruntime": "moist.runtime.onnx_runtime", "openvino": "moist.runtime.open_vino"}


class Graph(Protocol):
    """An opened graph; any number of threads may run it."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the outputs, in the graph's order, for the inputs, in the graph's order."""


def open_graph(
    source: Path | bytes,
    *,
    runtime: RuntimeName = "onnxruntime",
    threads: int = 1,
    streams: int = 1,
    frugal: bool = False,
    keep: Path | None = None,
) -> Graph:
    """Open an ONNX graph.

    Args:
        source: path of a file, whose weights are mapped into memory where they lie beside it; or the graph itself.
        runtime: the library to run it on.
        threads: that one run may use.
        streams: runs at once, by as many callers, that shall not wait for each other.
        frugal: give memory back after each run, at the price of some microseconds.
        keep: file for the graph as the library has optimised it for this processor: written the first time, read
            thereafter, which takes a third of the time. For a library that has no such form it is not used.

    Raises:
        UserError: the library is unknown or not installed, or it cannot read the graph.
    """
    if runtime not in LIBRARIES:
        raise UserError(f"no runtime is called {runtime!r}. {nearest(str(runtime), LIBRARIES)}")
    graph: Graph = importlib.import_module(LIBRARIES[runtime]).open_graph(source, threads, streams, frugal, keep)
    return graph
