"""Expert probing: what each expert of a sparse layer can do alone, on its own part of the data and on the others'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moist.types import UserError

__all__ = ["ExpertProbe", "probe_experts"]


@dataclass(frozen=True)
class ExpertProbe:
    """Experts (rows) on the parts of the data that the gate gives to each of them (columns).

    Args:
        sizes: (E,) int64 examples in each part.
        accuracy: (E, E) of expert i alone on part j; NaN where the part is empty.
        whole: (E,) of expert i alone on all examples.
        mixed: accuracy of the network as it is.
        gate_accuracy: how often the gate's choice answers rightly where at least one expert does.
        disagreement: share of pairs of experts that give different classes, over all examples.
    """

    sizes: np.ndarray
    accuracy: np.ndarray
    whole: np.ndarray
    mixed: float
    gate_accuracy: float
    disagreement: float

    @property
    def own(self) -> np.ndarray:
        """Accuracy (E,) of each expert on its own part; NaN where that is empty."""
        return np.diagonal(self.accuracy)

    @property
    def own_mean(self) -> float:
        """Mean accuracy of the experts on their own parts, each example counting once."""
        filled = self.sizes > 0
        return float((self.own[filled] * self.sizes[filled]).sum() / self.sizes.sum())


def probe_experts(
    expert_classes_EN: np.ndarray, mixed_N: np.ndarray, own_N: np.ndarray, target_N: np.ndarray
) -> ExpertProbe:
    """Split examples by the gate's own routing and score every expert alone on every part.

    Args:
        expert_classes_EN: (E, N) int64 the class that the network gives where expert e alone serves everything.
        mixed_N: (N,) int64 the class that the network gives as it is.
        own_N: (N,) int64 the expert that the gate gives most of each example to.
        target_N: (N,) int64 the right class.

    Raises:
        UserError: the shapes disagree, or there is no example.

    An interpretation of the probing of Xie et al. 2024, "MoDE" (arXiv 2402.00893).
    """
    num_experts, count = expert_classes_EN.shape
    if not count or any(each.shape != (count,) for each in (mixed_N, own_N, target_N)):
        raise UserError(
            "probing needs the experts' classes (E, N) and (N,) of the rest with N at least 1, got "
            f"{expert_classes_EN.shape}, {mixed_N.shape}, {own_N.shape}, {target_N.shape}; probe equally many of all"
        )
    right_EN = expert_classes_EN == target_N
    accuracy = np.full((num_experts, num_experts), np.nan)
    sizes = np.bincount(own_N, minlength=num_experts)
    for part in np.flatnonzero(sizes):
        accuracy[:, part] = right_EN[:, own_N == part].mean(axis=1)
    solvable = right_EN.any(axis=0)
    chosen_right = right_EN[own_N, np.arange(count)]
    return ExpertProbe(
        sizes=sizes,
        accuracy=accuracy,
        whole=right_EN.mean(axis=1),
        mixed=float((mixed_N == target_N).mean()),
        gate_accuracy=float(chosen_right[solvable].mean()) if solvable.any() else float("nan"),
        disagreement=_disagreement(expert_classes_EN),
    )


def _disagreement(classes_EN: np.ndarray) -> float:
    num_experts = len(classes_EN)
    pairs = [(a, b) for a in range(num_experts) for b in range(a)]
    return float(np.mean([(classes_EN[a] != classes_EN[b]).mean() for a, b in pairs])) if pairs else 0.0
