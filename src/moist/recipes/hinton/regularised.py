"""The paper's large MNIST network: dropout and a limit on the length of each unit's incoming weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from moist.data import InputShape

__all__ = ["ByteDropout", "MaxNormLinear", "regularised_network", "small_start_network"]


class ByteDropout(nn.Module):
    """Dropout whose mask comes from random bytes.

    PyTorch's own draws one number per unit, which took 41% of a training step of this network on a CPU; eight units
    share one 64-bit draw here. The share dropped is rounded to 1/256.

    Args:
        share: of the units that are dropped while training, in [0, 1).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.threshold = round(256 * share)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs (N, D), in training with units set to 0 and the others scaled up."""
        if not self.training or self.threshold == 0:
            return inputs
        # The lower bound makes all 64 bits random; by default the sign's is not.
        draws = torch.empty(-(-inputs.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        keep = draws.view(torch.uint8)[: inputs.numel()].view_as(inputs) >= self.threshold
        return inputs * keep.to(inputs.dtype).mul_(256 / (256 - self.threshold))


class MaxNormLinear(nn.Linear):
    """A linear layer whose units' incoming weights are scaled down to a longest length before each training step.

    Args:
        in_features: inputs.
        out_features: units.
        max_norm: longest length of a unit's incoming weights.

    Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", section 5.1.
    """

    def __init__(self, in_features: int, out_features: int, max_norm: float) -> None:
        super().__init__(in_features, out_features)
        self.max_norm = max_norm

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, in_features) to (N, out_features)."""
        if self.training:
            with torch.no_grad():
                self.weight.mul_((self.max_norm / self.weight.norm(dim=1, keepdim=True)).clamp(max=1.0))
        return super().forward(inputs)


def regularised_network(
    num_classes: int,
    input_shape: InputShape,
    hidden: Sequence[int] = (1200, 1200),
    dropout: float = 0.5,
    input_dropout: float = 0.2,
    max_norm: float = 3.5,
) -> nn.Module:
    """Return a perceptron on flattened images with dropout and limited weights; a factory for students.

    Args:
        num_classes: C.
        input_shape: of an image (channels, height, width).
        hidden: units of each hidden layer.
        dropout: share of the hidden units that are dropped.
        input_dropout: share of the pixels that are dropped.
        max_norm: longest length of a hidden unit's incoming weights.
    """
    layers: list[nn.Module] = [nn.Flatten(), ByteDropout(input_dropout)]
    features = prod(input_shape.shape)
    for units in hidden:
        linear = MaxNormLinear(features, units, max_norm)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU(), ByteDropout(dropout)]
        features = units
    return nn.Sequential(*layers, nn.Linear(features, num_classes))


def small_start_network(
    num_classes: int, input_shape: InputShape, hidden: Sequence[int], initial_std: float
) -> nn.Module:
    """Return a perceptron on flattened images without regularisation; a factory for students.

    Args:
        num_classes: C.
        input_shape: of an image (channels, height, width).
        hidden: units of each hidden layer.
        initial_std: standard deviation of all weights at the start; biases are 0.
    """
    widths = [prod(input_shape.shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for features, units in pairwise(widths):
        layers += [nn.Linear(features, units), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=initial_std)
            nn.init.zeros_(layer.bias)
    return network
