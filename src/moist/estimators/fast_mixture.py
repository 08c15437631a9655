"""A small mixture's answer without torch: for one row, calling modules costs more than the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn
from typing_extensions import Self

from moist.mixture import MixtureOfSpecialists

__all__ = ["FastMixture"]


@dataclass(frozen=True)
class Layers:
    """Linear layers with a ReLU between each two."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Map rows (N, D) to (N, C)."""
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            rows = rows @ weight + bias
            if number < last:
                np.maximum(rows, 0, out=rows)
        return rows


@dataclass(frozen=True)
class FastMixture:
    """Gate and specialists as arrays; each row runs the gate and the one specialist of the highest score.

    Args:
        gate: scores (N, K).
        specialists: K of them, logits (N, C).
    """

    gate: Layers
    specialists: tuple[Layers, ...]

    @classmethod
    def of(cls, mixture: MixtureOfSpecialists) -> Self | None:
        """Take the weights of a mixture of perceptrons on numbers; None where it has other parts."""
        if not isinstance(mixture.trunk, nn.Identity) or mixture.inference.top_k != 1:
            return None
        parts = [_layers(module) for module in (mixture.gate, *mixture.specialists)]
        known = [part for part in parts if part is not None]
        return cls(known[0], tuple(known[1:])) if len(known) == len(parts) else None

    def route(self, rows: np.ndarray) -> np.ndarray:
        """Return the specialist (N,) that serves each encoded row (N, D)."""
        result: np.ndarray = self.gate(rows).argmax(axis=1)
        return result

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Return class probabilities (N, C) of encoded rows (N, D), float32."""
        if len(rows) == 1:
            return _softmax(self.specialists[int(self.gate(rows).argmax())](rows))
        chosen_N = self.route(rows)
        # Sorted by specialist, each one's rows are a run: they are gathered and put back once for all specialists.
        order_N = chosen_N.argsort(kind="stable")
        sorted_ND = rows[order_N]
        ends_K = np.bincount(chosen_N, minlength=len(self.specialists)).cumsum()
        parts = [
            specialist(sorted_ND[start:end])
            for specialist, start, end in zip(self.specialists, [0, *ends_K], ends_K)
            if end > start
        ]
        logits_NC = np.empty((len(rows), parts[0].shape[1]), dtype=parts[0].dtype)
        logits_NC[order_N] = np.concatenate(parts)
        return _softmax(logits_NC)


def _layers(module: nn.Module) -> Layers | None:
    """Return the linear layers of a perceptron in order, or None where it has parts of another kind."""
    leaves = [part for part in module.modules() if not list(part.children())]
    if not all(isinstance(part, nn.Linear | nn.ReLU | nn.Flatten | nn.Identity) for part in leaves):
        return None
    linear = [part for part in leaves if isinstance(part, nn.Linear)]
    weights = tuple(np.ascontiguousarray(part.weight.detach().numpy().T) for part in linear)
    return Layers(weights, tuple(part.bias.detach().numpy().copy() for part in linear))


def _softmax(logits_NC: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    result: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return result
