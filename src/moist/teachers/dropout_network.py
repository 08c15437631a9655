"""A multi-layer perceptron regularised as a teacher should be, with scikit-learn's contract."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

__all__ = ["DropoutNetworkClassifier"]


class DropoutNetworkClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A perceptron with dropout, label smoothing and weight decay on a one-cycle schedule.

    scikit-learn's own MLPClassifier has none of the three, becomes certain of its training data, and then tells a
    student nothing that the labels do not.

    Args:
        hidden_layer_sizes: units of each hidden layer.
        dropout: share of hidden units dropped while training.
        label_smoothing: share of the target spread over all classes.
        weight_decay: of AdamW.
        learning_rate: the cycle's peak.
        epochs: passes over the data.
        batch_size: examples per step.
        random_state: seed of weights, order and dropout.

    Attributes:
        classes_: (C,) class labels.
        coefs_: weights (inputs, outputs) of each layer.
        intercepts_: biases (outputs,) of each layer.
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (256, 256),
        *,
        dropout: float = 0.1,
        label_smoothing: float = 0.02,
        weight_decay: float = 0.01,
        learning_rate: float = 2e-3,
        epochs: int = 60,
        batch_size: int = 128,
        random_state: int | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> DropoutNetworkClassifier:
        """Fit to features X (N, D) and labels y (N,)."""
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, target = np.unique(y, return_inverse=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0 if self.random_state is None else self.random_state)
            network = self._network(X.shape[1])
            self._train(network, torch.from_numpy(X), torch.from_numpy(target))
        linear = [layer for layer in network if isinstance(layer, nn.Linear)]
        self.coefs_ = [layer.weight.detach().numpy().T.copy() for layer in linear]
        self.intercepts_ = [layer.bias.detach().numpy().copy() for layer in linear]
        return self

    def _network(self, num_features: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        width = num_features
        for units in self.hidden_layer_sizes:
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(self.dropout)]
            width = units
        return nn.Sequential(*layers, nn.Linear(width, len(self.classes_)))

    def _train(self, network: nn.Module, inputs: torch.Tensor, target: torch.Tensor) -> None:
        size = min(self.batch_size, len(inputs))
        steps = len(inputs) // size
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.epochs * steps + 1
        )
        loss_of = nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)
        for _ in range(self.epochs):
            order = torch.randperm(len(inputs))
            for rows in torch.split(order[: steps * size], size):
                optimizer.zero_grad(set_to_none=True)
                loss_of(network(inputs[rows]), target[rows]).backward()
                optimizer.step()
                schedule.step()

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return class probabilities (N, C) of features X (N, D)."""
        check_is_fitted(self)
        hidden = validate_data(self, X, dtype=np.float32, reset=False)
        for weight, bias in zip(self.coefs_[:-1], self.intercepts_[:-1], strict=True):
            hidden = np.maximum(hidden @ weight + bias, 0)
        probabilities: np.ndarray = softmax(hidden @ self.coefs_[-1] + self.intercepts_[-1], axis=1)
        return probabilities

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the most probable class label (N,) of features X (N, D)."""
        best = self.predict_proba(X).argmax(axis=1)
        labels: np.ndarray = self.classes_[best]
        return labels
