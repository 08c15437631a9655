"""One step of softmax regression on soft, weighted targets: what trains gates and logistic experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from moist.estimators.least_squares import over_rows, solve_symmetric, weighted_gram

__all__ = ["log_softmax", "softmax_step", "softplus"]

MOST_PRODUCTS = 15
ENOUGH = 0.1  # of the gradient's length: EM moves the targets after every step, so a closer solution is wasted
NEGLIGIBLE = 1e-3  # share of a row: behind a gate that decides, most rows are another expert's
MOST_OF_WEIGHT = 0.9
SUFFICIENT = 1e-4
MOST_HALVINGS = 40
BEND_ROWS = 8192  # and at least a hundred for each input
ROUNDING = 1e-13  # a gain that is a smaller share of the objective cannot be told from none


def log_softmax(logits_NC: np.ndarray) -> np.ndarray:
    """Return log softmax over the last axis, safe against overflow."""
    shifted = logits_NC - logits_NC.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    result: np.ndarray = shifted
    return result


def softmax_step(
    design_ND: np.ndarray,
    coef_DC: np.ndarray,
    target_NC: np.ndarray,
    penalty_D: np.ndarray,
    whole_N: np.ndarray | None = None,
) -> np.ndarray:
    """Return better coefficients of Σ_nc t_nc log softmax(x_n B)_c - ½ Σ_d λ_d |B_d|², after one Newton step.

    It is one iteration of iteratively reweighted least squares (IRLS). For more than two classes the weighted
    least-squares problem is solved by a few conjugate gradients: the Hessian of D · C columns is never formed, so the
    time is linear in N, D and C. The step is halved until the objective grows; where it never does, the coefficients
    stay, so it cannot fall.

    Args:
        design_ND: (N, D) inputs, the constant among them.
        coef_DC: (D, C) where to start; with two classes, the one column the negative of the other.
        target_NC: (N, C) non-negative; a row sums to the row's weight.
        penalty_D: (D,) ridge of each input, 0 for the constant.
        whole_N: (N,) what each row weighs in all, here and elsewhere; rows that are hardly here are left out of the
            curvature, which makes the step cheaper, and never wrong: what it gains is counted on all rows.

    Jordan and Jacobs 1994, "Hierarchical Mixtures of Experts and the EM Algorithm", section 3 and appendix A; the
    conjugate gradients after Komarek and Moore 2005, "Making Logistic Regression a Core Data Mining Tool with TR-IRLS".
    """
    if coef_DC.shape[1] == 2:
        return _binary_step(design_ND, coef_DC, target_NC, penalty_D)
    problem = _Problem(design_ND, target_NC, penalty_D)
    log_probs_NC = log_softmax(design_ND @ coef_DC)
    probs_NC = np.exp(log_probs_NC)
    gradient_DC = problem.gradient(coef_DC, probs_NC)
    bends = problem.curvature(probs_NC, whole_N)
    direction_DC = _conjugate_gradients(bends.product, gradient_DC, bends.diagonal())

    def value(trial_DC: np.ndarray) -> float:
        return problem.value(trial_DC, log_softmax(design_ND @ trial_DC))

    slope = float((gradient_DC * direction_DC).sum())
    return _climb(value, coef_DC, direction_DC, problem.value(coef_DC, log_probs_NC), slope)


def _climb(
    value: Callable[[np.ndarray], float], coef: np.ndarray, direction: np.ndarray, start: float, slope: float
) -> np.ndarray:
    """Return the longest of the halved steps that raises the objective enough, or ``coef`` where none does."""
    size = 1.0
    if slope <= ROUNDING * abs(start):
        return coef
    for _ in range(MOST_HALVINGS):
        trial = coef + size * direction
        if value(trial) >= start + SUFFICIENT * size * slope:
            return trial
        size /= 2
    return coef


def _binary_step(
    design_ND: np.ndarray, coef_D2: np.ndarray, target_N2: np.ndarray, penalty_D: np.ndarray
) -> np.ndarray:
    """Take the same step for two classes, whose coefficients are u and -u: one score a row, and a Hessian of (D, D).

    With score s = 2 u·x, p = σ(s) and weights w: the objective is Σ t₀ s - w log(1 + eˢ) - λ u², its gradient
    2 (Xᵀ(t₀ - w p) - λ u), its negative Hessian 2 (2 Xᵀ w p (1 - p) X + λ).
    """
    first_N, weight_N = target_N2[:, 0], target_N2.sum(axis=1)

    def value_at(u_D: np.ndarray, score_N: np.ndarray) -> float:
        return float(np.dot(first_N, score_N) - np.dot(weight_N, softplus(score_N)) - penalty_D @ u_D**2)

    u_D = (coef_D2[:, 0] - coef_D2[:, 1]) / 2
    score_N = 2 * (design_ND @ u_D)
    probs_N = expit(score_N)
    half_gradient_D = over_rows(design_ND, first_N - weight_N * probs_N) - penalty_D * u_D
    # A direction need not be exact, the step along it is checked: rows that hardly bend the objective are left out, and
    # of many rows some tell as much (Roosta-Khorasani and Mahoney 2016, "Sub-Sampled Newton Methods").
    bend_N = 2 * weight_N * probs_N * (1 - probs_N)
    bend_DD = weighted_gram(design_ND, bend_N, negligible=1e-3, most_rows=max(BEND_ROWS, 100 * len(u_D)))
    direction_D = solve_symmetric(bend_DD + np.diag(penalty_D), half_gradient_D)
    slope = 2 * float(half_gradient_D @ direction_D)
    better_D = _climb(
        lambda trial_D: value_at(trial_D, 2 * (design_ND @ trial_D)),
        u_D,
        direction_D,
        value_at(u_D, score_N),
        slope,
    )
    return np.stack([better_D, -better_D], axis=1)


def softplus(score_N: np.ndarray) -> np.ndarray:
    """Return log(1 + eˢ), safe against overflow."""
    result: np.ndarray = np.maximum(score_N, 0) + np.log1p(np.exp(-np.abs(score_N)))
    return result


class _Problem:
    def __init__(self, design_ND: np.ndarray, target_NC: np.ndarray, penalty_D: np.ndarray) -> None:
        self.design_ND, self.target_NC = design_ND, target_NC
        self.weight_N1 = target_NC.sum(axis=1, keepdims=True)
        self.penalty_D1 = penalty_D[:, None]

    def value(self, coef_DC: np.ndarray, log_probs_NC: np.ndarray) -> float:
        # vdot on flat views: no product as large as the data is written to memory.
        likelihood = np.vdot(self.target_NC, log_probs_NC)
        return float(likelihood - 0.5 * (self.penalty_D1 * coef_DC**2).sum())

    def gradient(self, coef_DC: np.ndarray, probs_NC: np.ndarray) -> np.ndarray:
        left_NC = self.target_NC - self.weight_N1 * probs_NC
        result: np.ndarray = over_rows(self.design_ND, left_NC) - self.penalty_D1 * coef_DC
        return result

    def curvature(self, probs_NC: np.ndarray, whole_N: np.ndarray | None) -> _Curvature:
        """Return the negative Hessian, from the rows that have a share in it worth its cost."""
        weight_N = self.weight_N1[:, 0]
        here_N = weight_N > NEGLIGIBLE * (weight_N if whole_N is None else whole_N)
        enough = weight_N[here_N].sum() >= MOST_OF_WEIGHT * weight_N.sum()
        # A slice of all rows is no copy of them: a gate's are all here.
        kept = np.flatnonzero(here_N) if enough and not here_N.all() else slice(None)
        return _Curvature(self.design_ND[kept], probs_NC[kept], self.weight_N1[kept] * probs_NC[kept], self.penalty_D1)


@dataclass(frozen=True)
class _Curvature:
    """The negative Hessian of D · C columns, never formed."""

    design_ND: np.ndarray
    probs_NC: np.ndarray
    weighted_NC: np.ndarray
    penalty_D1: np.ndarray

    def product(self, vector_DC: np.ndarray) -> np.ndarray:
        """Return the product with a vector."""
        moved_NC = self.design_ND @ vector_DC
        moved_NC -= np.einsum("nc,nc->n", self.probs_NC, moved_NC)[:, None]
        moved_NC *= self.weighted_NC
        result: np.ndarray = over_rows(self.design_ND, moved_NC) + self.penalty_D1 * vector_DC
        return result

    def diagonal(self) -> np.ndarray:
        spread_NC = self.weighted_NC * (1 - self.probs_NC)
        result: np.ndarray = over_rows(np.square(self.design_ND), spread_NC) + self.penalty_D1
        return result


def _conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray], right_DC: np.ndarray, diagonal_DC: np.ndarray
) -> np.ndarray:
    """Solve H v = right roughly, preconditioned by H's diagonal; any stage of it is a direction of ascent."""
    inverse_DC = 1 / np.maximum(diagonal_DC, 1e-10 * max(float(diagonal_DC.max()), 1e-300))
    solution, residual = np.zeros_like(right_DC), right_DC.copy()
    ready = inverse_DC * residual
    direction, size = ready.copy(), float(np.vdot(residual, ready))
    enough = ENOUGH**2 * size
    for _ in range(MOST_PRODUCTS):
        bent = product(direction)
        curvature = float(np.vdot(direction, bent))
        if size <= enough or curvature <= 0:
            break
        solution += size / curvature * direction
        residual -= size / curvature * bent
        ready = inverse_DC * residual
        size, last = float(np.vdot(residual, ready)), size
        direction = ready + size / last * direction
    return solution
