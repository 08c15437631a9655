"""What all mixtures of experts share: checking, EM with restarts, and the public attributes of gate and experts."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, has_fit_parameter, validate_data
from typing_extensions import Self

from moist.estimators.em import Fit, run_em
from moist.estimators.experts import (
    Experts,
    FittedClassifiers,
    FittedRegressors,
    GaussianExperts,
    LogisticExperts,
    gaussian_log_likelihood,
)
from moist.estimators.gate import TreeGate
from moist.estimators.sample import Sample, Scaling
from moist.estimators.start import starting_responsibilities
from moist.types import UserError

__all__ = ["BaseMixture", "ClassifierMixture", "RegressorMixture", "check_integer", "check_number"]

INITS = ("kmeans", "random")


def check_integer(name: str, value: Any, least: int) -> None:
    """Refuse what is not a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise UserError(f"{name} must be a whole number of at least {least}, got {value!r}; change it")


def check_number(name: str, value: Any, least: float, *, above: bool = False) -> None:
    """Refuse what is not a number of at least ``least``, or above it."""
    rule = "above" if above else "of at least"
    fine = isinstance(value, Real) and not isinstance(value, bool)
    if not fine or not (value > least if above else value >= least):
        raise UserError(f"{name} must be a number {rule} {least:g}, got {value!r}; change it")


class BaseMixture(BaseEstimator):  # type: ignore[misc]
    """Gates and experts fitted by EM; see the classes that are public."""

    estimator: Any
    alpha: float
    gate_alpha: float
    init: str
    n_init: int
    max_iter: int
    tol: float
    random_state: Any
    verbose: int
    _experts: Any
    _gate: TreeGate
    _scaling: Scaling

    def _tree(self) -> tuple[int, int]:
        """Return depth and branching of the gates."""
        raise NotImplementedError

    def _start_experts(self, sample: Sample, num_experts: int) -> Experts:
        raise NotImplementedError

    def _publish(self) -> None:
        """Set the attributes that tell of gates and experts in the inputs' own units."""
        raise NotImplementedError

    def _check_parameters(self) -> None:
        check_number("alpha", self.alpha, 0)
        check_number("gate_alpha", self.gate_alpha, 0)
        check_integer("n_init", self.n_init, 1)
        check_integer("max_iter", self.max_iter, 1)
        check_number("tol", self.tol, 0)
        if self.init not in INITS:
            raise UserError(f"init must be one of {', '.join(INITS)}, got {self.init!r}; change it")
        if self.estimator is not None and not has_fit_parameter(self.estimator, "sample_weight"):
            raise UserError(
                "an expert's fit must take sample_weight, by which EM tells it which rows are its own; "
                f"{self.estimator!r} does not; choose another estimator, or leave it out for linear experts"
            )

    def _fit_em(self, rows_ND: np.ndarray, target_N: np.ndarray, weight_N: np.ndarray) -> tuple[Sample, np.ndarray]:
        """Run EM from ``n_init`` starts, keep the best, and return the sample and its weighted responsibilities."""
        if not weight_N.sum() > 0:
            raise UserError("at least one row must have a positive sample_weight, got none; mend the weights")
        kept = weight_N > 0
        rows_ND, target_N, weight_N = rows_ND[kept], target_N[kept], weight_N[kept]
        self._scaling = Scaling.of(rows_ND, weight_N)
        sample = Sample(rows_ND, self._scaling.design(rows_ND), target_N, weight_N)
        random = check_random_state(self.random_state)
        fits = [self._run(sample, random) for _ in range(self.n_init)]
        best = max(fits, key=lambda fit: fit.bounds[-1])
        self._gate, self._experts = best.gate, best.experts
        self.lower_bounds_ = np.asarray(best.bounds)
        self.lower_bound_ = best.bounds[-1]
        self.n_iter_ = len(best.bounds)
        self.converged_ = best.converged
        self.algorithm_ = "EM" if self.estimator is None else "generalized EM"
        self._publish()
        return sample, best.responsibilities_NK * weight_N[:, None]

    def _run(self, sample: Sample, random: np.random.RandomState) -> Fit[Experts]:
        depth, branching = self._tree()
        gate = TreeGate.start(depth, branching, self._penalty(sample, self.gate_alpha))
        experts = self._start_experts(sample, gate.num_leaves)
        start = starting_responsibilities(
            sample.design_ND[:, 1:],
            sample.weight_N,
            depth,
            branching,
            self.init,  # type: ignore[arg-type]
            random,
        )
        return run_em(sample, gate, experts, start, max_iter=self.max_iter, tol=self.tol, verbose=bool(self.verbose))

    def _penalty(self, sample: Sample, alpha: float) -> np.ndarray:
        """Return the ridge (D,) of each standardised input; the constant has none."""
        penalty = np.full(sample.design_ND.shape[1], float(alpha))
        penalty[0] = 0.0
        return penalty

    def _members(self) -> list[Any]:
        return list(getattr(self._experts, "members", ()))

    def _read(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return new rows (N, D) and their design (N, 1 + D)."""
        check_is_fitted(self)
        rows_ND = validate_data(self, X, dtype=np.float64, reset=False)
        return rows_ND, self._scaling.design(rows_ND)

    def gate_proba(self, X: Any) -> np.ndarray:
        """Return the gate's probability of each expert.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_experts)
            They sum to 1 over the experts.
        """
        result: np.ndarray = np.exp(self._gate.log_proba(self._read(X)[1]))
        return result


class ClassifierMixture(ClassifierMixin, BaseMixture):  # type: ignore[misc]
    """Mixtures of experts that classify."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit gate and experts by EM.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; a weight of two is the same as the row twice.

        Returns
        -------
        self : object
            The fitted mixture.
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        self.classes_, target = np.unique(y, return_inverse=True)
        self._fit_em(X, target, weight)
        return self

    def _start_experts(self, sample: Sample, num_experts: int) -> Experts:
        num_classes = len(self.classes_)
        if self.estimator is not None:
            return FittedClassifiers(self.estimator, num_experts, num_classes)
        coef_KDC = np.zeros((num_experts, sample.design_ND.shape[1], num_classes))
        return LogisticExperts(coef_KDC, self._penalty(sample, self.alpha))

    def _publish(self) -> None:
        self.experts_ = self._members()
        if isinstance(self._experts, LogisticExperts):
            self.coef_, self.intercept_ = self._scaling.original(self._experts.coef_KDC.transpose(0, 2, 1))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities, the experts' weighted by the gate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        rows_ND, design_ND = self._read(X)
        gate_NK = np.exp(self._gate.log_proba(design_ND))
        mixed_NC = np.einsum("nk,nkc->nc", gate_NK, self._experts.outputs(rows_ND, design_ND))
        result: np.ndarray = mixed_NC / mixed_NC.sum(axis=1, keepdims=True)
        return result

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Class labels.
        """
        best = self.predict_proba(X).argmax(axis=1)
        result: np.ndarray = self.classes_[best]
        return result

    def responsibilities(self, X: Any, y: Any) -> np.ndarray:
        """Return each expert's share in explaining the labels of rows: what the E step computes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their labels, all of them known from training.

        Returns
        -------
        share : ndarray of shape (n_samples, n_experts)
            They sum to 1 over the experts.
        """
        rows_ND, design_ND = self._read(X)
        labels = np.asarray(y)
        position = np.searchsorted(self.classes_, labels).clip(0, len(self.classes_) - 1)
        if not np.array_equal(self.classes_[position], labels):
            raise UserError("labels must be among the classes of training, got others; leave those rows out")
        said_NK = self._experts.outputs(rows_ND, design_ND)[np.arange(len(labels)), :, position]
        joint_NK = np.exp(self._gate.log_proba(design_ND)) * said_NK
        result: np.ndarray = joint_NK / joint_NK.sum(axis=1, keepdims=True)
        return result


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
