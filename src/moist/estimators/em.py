"""The EM algorithm for a gate and experts, whatever the experts are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from scipy.special import logsumexp
from sklearn.utils.parallel import Parallel, delayed
from threadpoolctl import threadpool_limits

from moist.estimators.experts import Experts
from moist.estimators.gate import TreeGate
from moist.estimators.sample import Sample
from moist.progress import say

__all__ = ["Fit", "expect", "run_em"]

E = TypeVar("E", bound=Experts)


@dataclass(frozen=True)
class Fit(Generic[E]):
    """What EM found.

    Args:
        gate: the gates.
        experts: the experts.
        responsibilities_NK: (N, K) of the training rows.
        bounds: penalised log-likelihood per unit of weight after each iteration; it never falls.
        converged: whether the last gain was below the tolerance.
    """

    gate: TreeGate
    experts: E
    responsibilities_NK: np.ndarray
    bounds: tuple[float, ...]
    converged: bool


def expect(sample: Sample, gate: TreeGate, experts: Experts) -> tuple[np.ndarray, np.ndarray]:
    """Do the E step: responsibilities h_k = g_k p_k / Σ_j g_j p_j (N, K), and log-likelihoods log Σ_k g_k p_k (N,)."""
    joint_NK = gate.log_proba(sample.design_ND) + experts.log_likelihood(sample)
    total_N = logsumexp(joint_NK, axis=1)
    return np.exp(joint_NK - total_N[:, None]), total_N


def run_em(
    sample: Sample,
    gate: TreeGate,
    experts: E,
    responsibilities_NK: np.ndarray,
    *,
    max_iter: int,
    tol: float,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> Fit[E]:
    """Alternate M and E steps from given responsibilities until the gain is below ``tol``.

    Each M step only has to improve on what it starts from (generalised EM): that is all that a log-likelihood which
    never falls asks for.

    The steps of gates and experts need nothing of each other: ``n_jobs`` threads share them, and find the same whatever
    their number. The linear algebra itself keeps to one thread, for its arrays are narrow.

    Jordan and Jacobs 1994, "Hierarchical Mixtures of Experts and the EM Algorithm", section 4; Dempster, Laird and
    Rubin 1977, for generalised EM.
    """
    bounds: list[float] = []
    total = float(sample.weight_N.sum())
    converged = False
    with threadpool_limits(1, "blas"), Parallel(n_jobs, require="sharedmem") as threads:
        for iteration in range(1, max_iter + 1):
            gate, experts = _maximize(sample, gate, experts, responsibilities_NK * sample.weight_N[:, None], threads)
            responsibilities_NK, likelihood_N = expect(sample, gate, experts)
            bounds.append((float(sample.weight_N @ likelihood_N) - gate.penalty - experts.penalty) / total)
            if verbose:
                say(f"iteration {iteration}: penalised log-likelihood {bounds[-1]:.6f}")
            if len(bounds) > 1 and bounds[-1] - bounds[-2] < tol:
                converged = True
                break
    return Fit(gate, experts, responsibilities_NK, tuple(bounds), converged)


def _maximize(
    sample: Sample, gate: TreeGate, experts: E, weighted_NK: np.ndarray, threads: Parallel
) -> tuple[TreeGate, E]:
    """Do the M step: every gate and every expert on its own; a gate sees all rows, so gates go first."""
    gates = gate.steps(sample, weighted_NK)
    own = [partial(experts.step, k, sample, weight_N) for k, weight_N in enumerate(weighted_NK.T)]
    done = threads(delayed(step)() for step in (*gates, *own))
    return gate.after(done[: len(gates)]), experts.after(done[len(gates) :])
