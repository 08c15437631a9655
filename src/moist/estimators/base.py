"""What all mixtures of experts share: checking, and EM with restarts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from moist.estimators.em import Fit, run_em
from moist.estimators.experts import Experts
from moist.estimators.gate import TreeGate
from moist.estimators.parameters import check_integer, check_number
from moist.estimators.sample import Sample, Scaling
from moist.estimators.start import starting_responsibilities
from moist.types import UserError

__all__ = ["BaseMixture"]

INITS = ("kmeans", "random")


class BaseMixture(BaseEstimator, ABC):  # type: ignore[misc]
    """Gates and experts fitted by EM; see the classes that are public."""

    estimator: Any
    alpha: float
    gate_alpha: float
    init: str
    n_init: int
    max_iter: int
    tol: float
    n_jobs: int | None
    random_state: Any
    verbose: int
    _experts: Any
    _gate: TreeGate
    _scaling: Scaling

    @abstractmethod
    def _tree(self) -> tuple[int, int]:
        """Return depth and branching of the gates."""

    @abstractmethod
    def _start_experts(self, sample: Sample, num_experts: int) -> Experts: ...

    @abstractmethod
    def _publish(self) -> None:
        """Set the attributes that tell of gates and experts in the inputs' own units."""

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
        return run_em(
            sample,
            gate,
            experts,
            start,
            max_iter=self.max_iter,
            tol=self.tol,
            n_jobs=self.n_jobs,
            verbose=bool(self.verbose),
        )

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
