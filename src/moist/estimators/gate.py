"""Gates: a tree of softmax regressions whose leaves are the experts; a tree of one level is the plain gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from typing_extensions import Self

from moist.estimators.sample import Sample
from moist.estimators.softmax_regression import log_softmax, softmax_step

__all__ = ["TreeGate"]


@dataclass(frozen=True)
class TreeGate:
    """Gates in level order: node p of a level leads to the children p · B to p · B + B - 1 of the next.

    Args:
        depth: levels of gates.
        branching: B, children of each gate.
        coef_PDB: (P, D, B) coefficients of each gate, the constant's among them.
        penalty_D: (D,) ridge of each input.
    """

    depth: int
    branching: int
    coef_PDB: np.ndarray
    penalty_D: np.ndarray

    @classmethod
    def start(cls, depth: int, branching: int, penalty_D: np.ndarray) -> Self:
        """Return gates without any preference."""
        num_nodes = sum(branching**level for level in range(depth))
        return cls(depth, branching, np.zeros((num_nodes, len(penalty_D), branching)), penalty_D)

    @property
    def num_leaves(self) -> int:
        """K, the number of experts."""
        return int(self.branching**self.depth)

    @property
    def penalty(self) -> float:
        """What the ridge takes from the log-likelihood."""
        return float(0.5 * (self.penalty_D[:, None] * self.coef_PDB**2).sum())

    def log_proba(self, design_ND: np.ndarray) -> np.ndarray:
        """Return log g_k(x) as (N, K): the sum of log-probabilities along the path to each leaf."""
        log_NP = np.zeros((len(design_ND), 1))
        for nodes in self._levels():
            coef_DPB = self.coef_PDB[nodes].transpose(1, 0, 2)
            logits = design_ND @ coef_DPB.reshape(len(coef_DPB), -1)
            branches_NPB = log_softmax(logits.reshape(len(design_ND), -1, self.branching))
            log_NP = (log_NP[:, :, None] + branches_NPB).reshape(len(design_ND), -1)
        return log_NP

    def steps(self, sample: Sample, target_NK: np.ndarray) -> list[Callable[[], np.ndarray]]:
        """Return one step of each gate towards weighted responsibilities (N, K) of the leaves, to be called.

        A gate's target for a child is the responsibility of all leaves below that child (Jordan and Jacobs 1994,
        equations 21 to 23).
        """
        steps: list[Callable[[], np.ndarray]] = []
        for nodes in self._levels():
            num_nodes = nodes.stop - nodes.start
            below = target_NK.reshape(len(target_NK), num_nodes, self.branching, -1).sum(axis=3)
            for position, node in enumerate(range(nodes.start, nodes.stop)):
                target_NB = np.ascontiguousarray(below[:, position])
                steps.append(partial(self._step, node, sample, target_NB))
        return steps

    def _step(self, node: int, sample: Sample, target_NB: np.ndarray) -> np.ndarray:
        return softmax_step(sample.design_ND, self.coef_PDB[node], target_NB, self.penalty_D, sample.weight_N)

    def after(self, done: Sequence[np.ndarray]) -> Self:
        """Return the gates that the steps found."""
        return replace(self, coef_PDB=np.stack(done))

    def _levels(self) -> Iterator[slice]:
        """Yield the positions of the gates of each level."""
        start = 0
        for level in range(self.depth):
            yield slice(start, start + self.branching**level)
            start += self.branching**level
