"""What a routed session answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["RoutedPrediction"]


@dataclass(frozen=True)
class RoutedPrediction:
    """A session's answer to N inputs.

    Args:
        probabilities: (N, C) float32.
        domain: (N,) int64, the specialist that answered (of several, the one that weighs most).
        deferred: (N,) bool, whether the answer was left to the generalist or the teacher.
        macs: (N,) float64, multiply-accumulates that the answer took.
    """

    probabilities: np.ndarray
    domain: np.ndarray
    deferred: np.ndarray
    macs: np.ndarray
