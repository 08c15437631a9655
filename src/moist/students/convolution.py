"""Parts that the convolutional families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moist.students.dense import classifier

__all__ = ["PooledClassifier", "convolution"]


def convolution(
    in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Return convolution + batch normalisation (+ ReLU); the normalisation's shift makes a bias needless."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    # torch takes a grouped kernel's fan_out over all channels, though each output reads one group: undo it.
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu" if relu else "linear")
    with torch.no_grad():
        conv.weight.mul_(groups**0.5)
    parts: list[nn.Module] = [conv, nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*parts, nn.ReLU(inplace=True)) if relu else nn.Sequential(*parts)


class PooledClassifier(nn.Module):
    """Global average pooling and a linear layer."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = classifier(in_channels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, D, H, W) to logits (N, C)."""
        logits: Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits
