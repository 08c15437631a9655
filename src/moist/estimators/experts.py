"""Experts behind a gate: linear ones, with a step of their own, and any estimator that takes sample weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from sklearn.base import clone
from typing_extensions import Self

from moist.estimators.least_squares import over_rows, solve_symmetric, weighted_gram
from moist.estimators.sample import Sample
from moist.estimators.softmax_regression import log_softmax, softmax_step, softplus

__all__ = [
    "Experts",
    "FittedClassifiers",
    "FittedRegressors",
    "GaussianExperts",
    "LogisticExperts",
    "gaussian_log_likelihood",
]


class Experts(Protocol):
    """K experts; every change gives new ones."""

    @property
    def penalty(self) -> float:
        """What their ridge takes from the log-likelihood."""
        ...

    def log_likelihood(self, sample: Sample) -> np.ndarray:
        """Return log p_k(y | x) of a sample's targets as (N, K)."""
        ...

    def step(self, k: int, sample: Sample, weight_N: np.ndarray) -> Any:
        """Return what expert k becomes where its log-likelihood, weighted and penalised, is no lower."""
        ...

    def after(self, done: Sequence[Any]) -> Self:
        """Return the experts that their steps found."""
        ...

    def outputs(self, rows_ND: np.ndarray, design_ND: np.ndarray) -> np.ndarray:
        """Return what each expert says: probabilities (N, K, C) or means (N, K)."""
        ...


@dataclass(frozen=True)
class LogisticExperts:
    """Softmax regressions.

    Args:
        coef_KDC: (K, D, C).
        penalty_D: (D,) ridge of each input.
    """

    coef_KDC: np.ndarray
    penalty_D: np.ndarray

    @property
    def penalty(self) -> float:
        return float(0.5 * (self.penalty_D[:, None] * self.coef_KDC**2).sum())

    def log_likelihood(self, sample: Sample) -> np.ndarray:
        rows = np.arange(len(sample.target_N))
        if self.coef_KDC.shape[2] == 2:
            margin_DK = (self.coef_KDC[:, :, 1] - self.coef_KDC[:, :, 0]).T
            sign_N1 = np.where(sample.target_N == 1, -1.0, 1.0)[:, None]
            return -softplus(sign_N1 * (sample.design_ND @ margin_DK))
        # One expert at a time: (N, C) stays in the cache where (N, K, C) would not.
        columns = [log_softmax(sample.design_ND @ coef_DC)[rows, sample.target_N] for coef_DC in self.coef_KDC]
        return np.stack(columns, axis=1)

    def step(self, k: int, sample: Sample, weight_N: np.ndarray) -> np.ndarray:
        target_NC = np.zeros((len(weight_N), self.coef_KDC.shape[2]))
        target_NC[np.arange(len(weight_N)), sample.target_N] = weight_N
        return softmax_step(sample.design_ND, self.coef_KDC[k], target_NC, self.penalty_D, sample.weight_N)

    def after(self, done: Sequence[np.ndarray]) -> LogisticExperts:
        return replace(self, coef_KDC=np.stack(done))

    def outputs(self, rows_ND: np.ndarray, design_ND: np.ndarray) -> np.ndarray:
        del rows_ND
        logits = design_ND @ self.coef_KDC.transpose(1, 0, 2).reshape(design_ND.shape[1], -1)
        result: np.ndarray = np.exp(log_softmax(logits.reshape(len(design_ND), *self.coef_KDC.shape[::2])))
        return result


@dataclass(frozen=True)
class GaussianExperts:
    """Linear regressions with a variance each; the ridge is λ |β|² / 2σ², so that it means the same at any noise.

    Args:
        coef_KD: (K, D).
        variance_K: (K,), of the standardised target.
        penalty_D: (D,) ridge of each input.
        least: smallest variance allowed.
    """

    coef_KD: np.ndarray
    variance_K: np.ndarray
    penalty_D: np.ndarray
    least: float

    @property
    def penalty(self) -> float:
        return float(((self.penalty_D * self.coef_KD**2).sum(axis=1) / (2 * self.variance_K)).sum())

    def log_likelihood(self, sample: Sample) -> np.ndarray:
        means_NK = sample.design_ND @ self.coef_KD.T
        return gaussian_log_likelihood(sample.target_N, means_NK, self.variance_K)

    def step(self, k: int, sample: Sample, weight_N: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the exact maximum: a weighted ridge regression, then the variance that is left."""
        total = float(weight_N.sum())
        if total <= 0:
            return self.coef_KD[k], float(self.variance_K[k])
        matrix_DD = weighted_gram(sample.design_ND, weight_N) + np.diag(self.penalty_D)
        coef_D = solve_symmetric(matrix_DD, over_rows(sample.design_ND, weight_N * sample.target_N))
        left_N = sample.target_N - sample.design_ND @ coef_D
        squares = float(weight_N @ left_N**2 + self.penalty_D @ coef_D**2)
        return coef_D, max(squares / total, self.least)

    def after(self, done: Sequence[tuple[np.ndarray, float]]) -> GaussianExperts:
        coef, variance = zip(*done)
        return replace(self, coef_KD=np.stack(coef), variance_K=np.array(variance))

    def outputs(self, rows_ND: np.ndarray, design_ND: np.ndarray) -> np.ndarray:
        del rows_ND
        result: np.ndarray = design_ND @ self.coef_KD.T
        return result


def gaussian_log_likelihood(target_N: np.ndarray, means_NK: np.ndarray, variance_K: np.ndarray) -> np.ndarray:
    """Return log N(y; μ_k, σ²_k) as (N, K)."""
    squares = (target_N[:, None] - means_NK) ** 2 / variance_K
    result: np.ndarray = -0.5 * (squares + np.log(2 * np.pi * variance_K))
    return result


@dataclass(frozen=True)
class FittedClassifiers:
    """Any classifiers with ``predict_proba``, mixed with a little of the uniform distribution.

    A tree may be certain, and wrong; a probability of 0 would end EM.

    Args:
        prototype: what to clone and fit.
        num_experts: K.
        num_classes: C.
        members: the fitted ones; empty before the first step.
        smoothing: share of the uniform distribution.
    """

    prototype: Any
    num_experts: int
    num_classes: int
    members: Sequence[Any] = ()
    smoothing: float = 1e-3
    penalty: float = 0.0

    def log_likelihood(self, sample: Sample) -> np.ndarray:
        return np.stack([self._own_likelihood(member, sample) for member in self.members], axis=1)

    def _own_likelihood(self, member: Any, sample: Sample) -> np.ndarray:
        rows = np.arange(len(sample.target_N))
        result: np.ndarray = np.log(self._probs(member, sample.rows_ND)[rows, sample.target_N])
        return result

    def step(self, k: int, sample: Sample, weight_N: np.ndarray) -> Any:
        """Fit one anew, and keep the new one only where it is no worse under its weights than the old one."""
        fresh = clone(self.prototype).fit(sample.rows_ND, sample.target_N, sample_weight=weight_N)
        return _better(partial(self._value, sample=sample, weight_N=weight_N), fresh, self.members[k : k + 1])

    def after(self, done: Sequence[Any]) -> FittedClassifiers:
        return replace(self, members=tuple(done))

    def _value(self, member: Any, sample: Sample, weight_N: np.ndarray) -> float:
        return float(weight_N @ self._own_likelihood(member, sample))

    def _probs(self, member: Any, rows_ND: np.ndarray) -> np.ndarray:
        probs_NC = np.zeros((len(rows_ND), self.num_classes))
        probs_NC[:, np.asarray(member.classes_, dtype=np.int64)] = member.predict_proba(rows_ND)
        return (1 - self.smoothing) * probs_NC + self.smoothing / self.num_classes

    def outputs(self, rows_ND: np.ndarray, design_ND: np.ndarray) -> np.ndarray:
        del design_ND
        return np.stack([self._probs(member, rows_ND) for member in self.members], axis=1)


@dataclass(frozen=True)
class FittedRegressors:
    """Any regressors, each with a variance of its own.

    Args:
        prototype: what to clone and fit.
        num_experts: K.
        variance_K: (K,), of the standardised target.
        least: smallest variance allowed.
        members: the fitted ones; empty before the first step.
    """

    prototype: Any
    num_experts: int
    variance_K: np.ndarray
    least: float
    members: Sequence[Any] = ()
    penalty: float = 0.0

    def log_likelihood(self, sample: Sample) -> np.ndarray:
        means_NK = self.outputs(sample.rows_ND, sample.design_ND)
        return gaussian_log_likelihood(sample.target_N, means_NK, self.variance_K)

    def step(self, k: int, sample: Sample, weight_N: np.ndarray) -> tuple[Any, float]:
        """Fit one anew, and keep the new one only where its weighted squares are no larger than the old one's."""
        fresh = clone(self.prototype).fit(sample.rows_ND, sample.target_N, sample_weight=weight_N)
        member = _better(lambda one: -_squares(one, sample, weight_N), fresh, self.members[k : k + 1])
        total = max(float(weight_N.sum()), 1e-300)
        return member, max(_squares(member, sample, weight_N) / total, self.least)

    def after(self, done: Sequence[tuple[Any, float]]) -> FittedRegressors:
        members, variance = zip(*done)
        return replace(self, members=members, variance_K=np.array(variance))

    def outputs(self, rows_ND: np.ndarray, design_ND: np.ndarray) -> np.ndarray:
        del design_ND
        return np.stack([np.ravel(member.predict(rows_ND)) for member in self.members], axis=1)


def _better(value: Callable[[Any], float], fresh: Any, old: Sequence[Any]) -> Any:
    """Return the fresh one unless the old one, where there is one, has a higher value."""
    return max((fresh, *old), key=value)


def _squares(member: Any, sample: Sample, weight_N: np.ndarray) -> float:
    return float(weight_N @ (sample.target_N - np.ravel(member.predict(sample.rows_ND))) ** 2)
