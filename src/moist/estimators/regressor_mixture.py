"""Mixtures of experts that regress, whatever the shape of their gates."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_sample_weight, validate_data
from typing_extensions import Self

from moist.estimators.base import BaseMixture
from moist.estimators.experts import Experts, FittedRegressors, GaussianExperts, gaussian_log_likelihood
from moist.estimators.parameters import check_number
from moist.estimators.sample import Sample, Scaling

__all__ = ["RegressorMixture"]


class RegressorMixture(RegressorMixin, BaseMixture):  # type: ignore[misc]
    """Mixtures of experts that regress."""

    min_variance: float
    _experts: GaussianExperts | FittedRegressors

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit gate and experts by EM.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; a weight of two is the same as the row twice.

        Returns
        -------
        self : object
            The fitted mixture.
        """
        self._check_parameters()
        check_number("min_variance", self.min_variance, 0, above=True)
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if weight.sum() > 0:
            spread = Scaling.of(np.asarray(y, dtype=np.float64)[:, None], weight)
            self._target_mean, self._target_scale = float(spread.mean_D[0]), float(spread.scale_D[0])
            y = (y - self._target_mean) / self._target_scale
        self._fit_em(X, y, weight)
        return self

    def _start_experts(self, sample: Sample, num_experts: int) -> Experts:
        variance_K = np.ones(num_experts)
        if self.estimator is not None:
            return FittedRegressors(self.estimator, num_experts, variance_K, self.min_variance)
        coef_KD = np.zeros((num_experts, sample.design_ND.shape[1]))
        return GaussianExperts(coef_KD, variance_K, self._penalty(sample, self.alpha), self.min_variance)

    def _publish(self) -> None:
        self.experts_ = self._members()
        self.variances_ = self._experts.variance_K * self._target_scale**2
        if isinstance(self._experts, GaussianExperts):
            slopes, constants = self._scaling.original(self._experts.coef_KD)
            self.coef_ = slopes * self._target_scale
            self.intercept_ = constants * self._target_scale + self._target_mean

    def _means(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the gate's probabilities and the experts' standardised means, both (N, K)."""
        rows_ND, design_ND = self._read(X)
        return np.exp(self._gate.log_proba(design_ND)), self._experts.outputs(rows_ND, design_ND)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the mean of the target, the experts' weighted by the gate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Also return the mixture's standard deviation at each row.

        Returns
        -------
        mean : ndarray of shape (n_samples,)
            Means.
        std : ndarray of shape (n_samples,)
            Only with ``return_std``.
        """
        gate_NK, means_NK = self._means(X)
        mean_N = (gate_NK * means_NK).sum(axis=1)
        value = mean_N * self._target_scale + self._target_mean
        if not return_std:
            return value
        around_NK = self._experts.variance_K + (means_NK - mean_N[:, None]) ** 2
        return value, np.sqrt((gate_NK * around_NK).sum(axis=1)) * self._target_scale

    def responsibilities(self, X: Any, y: Any) -> np.ndarray:
        """Return each expert's share in explaining the targets of rows: what the E step computes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their targets.

        Returns
        -------
        share : ndarray of shape (n_samples, n_experts)
            They sum to 1 over the experts.
        """
        gate_NK, means_NK = self._means(X)
        target_N = (np.asarray(y, dtype=np.float64) - self._target_mean) / self._target_scale
        with np.errstate(divide="ignore"):  # a gate may be so certain that a probability is 0
            joint_NK = np.log(gate_NK) + gaussian_log_likelihood(target_N, means_NK, self._experts.variance_K)
        share_NK = np.exp(joint_NK - joint_NK.max(axis=1, keepdims=True))
        result: np.ndarray = share_NK / share_NK.sum(axis=1, keepdims=True)
        return result
