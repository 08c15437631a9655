"""Mixtures of experts that classify, whatever the shape of their gates."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data
from typing_extensions import Self

from moist.estimators.base import BaseMixture
from moist.estimators.experts import Experts, FittedClassifiers, LogisticExperts
from moist.estimators.labels import ProbabilityClassifier
from moist.estimators.sample import Sample
from moist.types import UserError

__all__ = ["ClassifierMixture"]


class ClassifierMixture(ProbabilityClassifier, BaseMixture):
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
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
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
