"""Mixture density networks as a scikit-learn regressor."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp, ndtr
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from typing_extensions import Self

from moist.estimators.density_network import DensityNetwork, DensityTask, RowBatches
from moist.estimators.parameters import check_integer, check_number
from moist.estimators.sample import Scaling
from moist.training import TrainingSettings, fit
from moist.types import UserError

__all__ = ["MixtureDensityRegressor"]

LARGEST_SEED = 2**31 - 1
HALVINGS = 60  # of the interval that holds a quantile: more than a float can tell apart


class MixtureDensityRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A neural network that predicts a whole distribution: a mixture of Gaussians whose parameters depend on the input.

    It can say that the target is one of several values, or how wide it scatters here and there, where an ordinary
    regression has but a mean. One component makes it a Gaussian regression with a variance that depends on the input.

    Parameters
    ----------
    num_components : int, default=5
        Gaussians in the mixture.
    hidden_layer_sizes : sequence of int, default=(32,)
        Units of each hidden layer (tanh).
    num_steps : int, default=2000
        Batches to train on in all.
    batch_size : int, default=128
        Rows of a batch.
    learning_rate : float, default=0.01
        Peak of the learning rate, which rises and then falls along a cosine.
    weight_decay : float, default=0.0
        Pull of the weights towards 0 (AdamW's, decoupled).
    dropout : float, default=0.0
        Share of hidden units dropped while training.
    min_scale : float, default=1e-3
        Smallest standard deviation of a component, as a share of the target's.
    random_state : int, RandomState instance or None, default=None
        Of the weights, the order of the batches and dropout.

    Attributes
    ----------
    network_ : torch.nn.Module
        The fitted network, on standardised inputs and targets.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features, where ``X`` had names.

    References
    ----------
    Bishop 1994, "Mixture Density Networks", Aston University NCRG/94/004.

    Examples
    --------
    >>> import numpy as np
    >>> from moist.estimators import MixtureDensityRegressor
    >>> random = np.random.RandomState(0)
    >>> X = random.uniform(size=(500, 1))
    >>> y = np.where(random.uniform(size=500) < 0.5, 1, -1) + 0.1 * random.normal(size=500)
    >>> density = MixtureDensityRegressor(num_components=2, num_steps=500, random_state=0).fit(X, y)
    >>> np.round(density.predict_quantiles([[0.5]], [0.1, 0.9])).tolist()
    [[-1.0, 1.0]]
    >>> density.sample([[0.5]], 3, random_state=0).shape
    (1, 3)
    """

    def __init__(
        self,
        num_components: int = 5,
        *,
        hidden_layer_sizes: Sequence[int] = (32,),
        num_steps: int = 2000,
        batch_size: int = 128,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        dropout: float = 0.0,
        min_scale: float = 1e-3,
        random_state: Any = None,
    ) -> None:
        self.num_components = num_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.min_scale = min_scale
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # `score` is a log-likelihood, in nats, and no share of variance: scikit-learn's bound on R² says nothing of it.
        tags.regressor_tags.poor_score = True
        return tags

    def _check_parameters(self) -> None:
        for name in ("num_components", "num_steps", "batch_size"):
            check_integer(name, getattr(self, name), 1)
        for width in self.hidden_layer_sizes:
            check_integer("hidden_layer_sizes", width, 1)
        for name in ("learning_rate", "min_scale"):
            check_number(name, getattr(self, name), 0, above=True)
        for name in ("weight_decay", "dropout"):
            check_number(name, getattr(self, name), 0)
        if self.dropout >= 1:
            raise UserError(f"dropout must be a share below 1, got {self.dropout!r}; lower it")

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the network to the likelihood of the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Targets.

        Returns
        -------
        self : object
            The fitted regressor.
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        seed = int(check_random_state(self.random_state).randint(LARGEST_SEED))
        equal = np.ones(len(X))
        self._scaling, target = Scaling.of(X, equal), Scaling.of(np.asarray(y, dtype=np.float64)[:, None], equal)
        self._target_mean, self._target_scale = float(target.mean_D[0]), float(target.scale_D[0])
        standard = torch.from_numpy((y - self._target_mean) / self._target_scale).float()
        hidden = tuple(int(width) for width in self.hidden_layer_sizes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network_ = DensityNetwork(
                X.shape[1], hidden, int(self.num_components), float(self.min_scale), float(self.dropout)
            )
            if self.num_components > 1:  # one alone starts at the mean, which is 0
                self.network_.start_at(standard)
            batches = RowBatches(self._inputs(X), int(self.batch_size), seed)
            fit(DensityTask(self.network_, standard), batches, self._training(len(batches)), seed=seed)
        return self

    def _training(self, steps_per_epoch: int) -> TrainingSettings:
        return TrainingSettings(
            epochs=ceil(self.num_steps / steps_per_epoch),
            batch_size=int(self.batch_size),
            learning_rate=float(self.learning_rate),
            weight_decay=float(self.weight_decay),
        )

    def _inputs(self, rows_ND: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self._scaling.design(rows_ND)[:, 1:]).float()

    @torch.inference_mode()
    def _mixture(self, X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return weights, means and scales (N, M) in the target's own units, float64."""
        check_is_fitted(self)
        rows_ND = validate_data(self, X, dtype=np.float64, reset=False)
        log_weights, means, scales = (part.double().numpy() for part in self.network_(self._inputs(rows_ND)))
        weights = np.exp(log_weights)
        weights /= weights.sum(axis=1, keepdims=True)
        return weights, means * self._target_scale + self._target_mean, scales * self._target_scale

    def predict(self, X: Any) -> np.ndarray:
        """Return the mean of the target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        mean : ndarray of shape (n_samples,)
            Means of the mixtures.
        """
        weights, means, _ = self._mixture(X)
        result: np.ndarray = (weights * means).sum(axis=1)
        return result

    def predict_quantiles(self, X: Any, quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> np.ndarray:
        """Return quantiles of the target, by bisection on the mixture's distribution function.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        quantiles : sequence of float, default=(0.05, 0.5, 0.95)
            Each above 0 and below 1.

        Returns
        -------
        values : ndarray of shape (n_samples, n_quantiles)
            In the order of ``quantiles``.
        """
        wanted = np.asarray(quantiles, dtype=np.float64)
        if wanted.ndim != 1 or not ((wanted > 0) & (wanted < 1)).all():
            raise UserError(f"quantiles must be numbers above 0 and below 1, got {quantiles!r}; change them")
        weights, means, scales = (part[:, None, :] for part in self._mixture(X))
        # A tail of a float's smallest probability ends within 40 standard deviations of some component.
        low = np.repeat((means - 40 * scales).min(axis=2), len(wanted), axis=1)
        high = np.repeat((means + 40 * scales).max(axis=2), len(wanted), axis=1)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = (weights * ndtr((middle[:, :, None] - means) / scales)).sum(axis=2) < wanted
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        result: np.ndarray = (low + high) / 2
        return result

    def sample(self, X: Any, num_samples: int = 1, *, random_state: Any = None) -> np.ndarray:
        """Draw targets from the mixture of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        num_samples : int, default=1
            Draws for each row.
        random_state : int, RandomState instance or None, default=None
            Of the draws.

        Returns
        -------
        values : ndarray of shape (n_samples, num_samples)
            Drawn targets.
        """
        check_integer("num_samples", num_samples, 1)
        random = check_random_state(random_state)
        weights, means, scales = self._mixture(X)
        draws = random.random_sample((len(weights), num_samples, 1))
        chosen = (draws > weights.cumsum(axis=1)[:, None, :-1]).sum(axis=2)
        noise = random.standard_normal(chosen.shape)
        result: np.ndarray = np.take_along_axis(means, chosen, 1) + np.take_along_axis(scales, chosen, 1) * noise
        return result

    def log_density(self, X: Any, y: Any) -> np.ndarray:
        """Return the log-density of targets, summed in log space, so that no target is too far off.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their targets.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, of the target in its own units.
        """
        weights, means, scales = self._mixture(X)
        standard = (np.asarray(y, dtype=np.float64)[:, None] - means) / scales
        with np.errstate(divide="ignore"):  # a weight may be too small for a float
            joint = np.log(weights) - 0.5 * (standard**2 + np.log(2 * np.pi)) - np.log(scales)
        result: np.ndarray = logsumexp(joint, axis=1)
        return result

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the mean log-density of targets: higher is better, 0 is nothing special.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the mean.

        Returns
        -------
        score : float
            In nats.
        """
        return float(np.average(self.log_density(X, y), weights=sample_weight))
