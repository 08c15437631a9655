"""Linear parts that several families share."""

from __future__ import annotations

from torch import nn

__all__ = ["classifier", "hidden_layer"]


def hidden_layer(in_features: int, out_features: int) -> nn.Sequential:
    """Return linear + ReLU, initialised so that the variance is kept (He et al. 2015)."""
    linear = nn.Linear(in_features, out_features)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    nn.init.zeros_(linear.bias)
    return nn.Sequential(linear, nn.ReLU())


def classifier(in_features: int, num_classes: int) -> nn.Linear:
    """Return the linear layer that gives logits; no class is preferred at first."""
    linear = nn.Linear(in_features, num_classes)
    nn.init.zeros_(linear.bias)
    return linear
