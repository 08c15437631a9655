"""Where specialists help: by how many of them know an example's class, and among their own classes alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["conditional_accuracy", "gain_by_coverage"]


def gain_by_coverage(
    right_before_N: np.ndarray, right_after_N: np.ndarray, target_N: np.ndarray, sets_MS: np.ndarray
) -> list[dict[str, Any]]:
    """Return one entry per number of specialists that know an example's true class.

    Args:
        right_before_N: bool, whether the generalist alone is right.
        right_after_N: bool, whether generalist and specialists together are.
        target_N: class of each example.
        sets_MS: classes of each specialist.

    Returns:
        ``covering``, ``examples``, ``before`` (right by the generalist), ``change`` (examples won less those lost) and
        ``relative_gain`` of the accuracy.

    Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), table 4.
    """
    known_N = (sets_MS[None] == target_N[:, None, None]).any(axis=2).sum(axis=1)
    table = []
    for covering in np.unique(known_N):
        own = known_N == covering
        before, after = int(right_before_N[own].sum()), int(right_after_N[own].sum())
        table.append(
            {
                "covering": int(covering),
                "examples": int(own.sum()),
                "before": before,
                "change": after - before,
                "relative_gain": (after - before) / max(before, 1),
            }
        )
    return table


def conditional_accuracy(
    general_NC: np.ndarray, special_NS: Iterable[np.ndarray], target_N: np.ndarray, sets_MS: np.ndarray
) -> dict[str, float]:
    """Return how often generalist and specialists are right among a specialist's classes, on examples of these.

    Each specialist's examples are counted once for it; both choose among its classes only.

    Args:
        general_NC: the generalist's logits.
        special_NS: each specialist's logits of its own classes, (N, S).
        target_N: class of each example.
        sets_MS: classes of each specialist.
    """
    counts = np.zeros(3, dtype=np.int64)
    for classes, logits in zip(sets_MS, special_NS):
        own = np.isin(target_N, classes)
        said = (classes[general_NC[own][:, classes].argmax(axis=1)], classes[logits[own].argmax(axis=1)])
        counts += [own.sum(), *((guess == target_N[own]).sum() for guess in said)]
    total = max(int(counts[0]), 1)
    return {"examples": int(counts[0]), "generalist": counts[1] / total, "specialists": counts[2] / total}
