"""Run fragments on ONNX Runtime, to compare and to measure them."""

from __future__ import annotations

import numpy as np

from moist.export.fragment import Fragment
from moist.runtime import open_graph

__all__ = ["largest_difference", "run_fragment"]

BATCH = 256


def run_fragment(fragment: Fragment, inputs: np.ndarray) -> np.ndarray:
    """Return the output (N, ...) of a fragment for inputs (N, ...)."""
    if not fragment.nodes:
        return inputs
    graph = open_graph(fragment.model("fragment").SerializeToString())
    parts = [graph.run([inputs[start : start + BATCH]])[0] for start in range(0, len(inputs), BATCH)]
    return np.concatenate(parts)


def largest_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference, each less what its size allows for; infinite where one has no number."""
    difference = np.abs(one.astype(np.float64) - other) / np.maximum(np.abs(other), 1.0)
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))
