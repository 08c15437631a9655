"""The CIFAR ResNet family with option-A shortcuts, named layer for layer as the public checkpoints name them.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (2016), section 4.2. A checkpoint of
``akamaster/pytorch_resnet_cifar10`` loads strictly once its ``module.`` prefix is stripped.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from moist.types import UserError

__all__ = ["CifarResNet", "cifar_resnet"]

DEPTHS = (20, 32, 44, 56, 110)


class _Block(nn.Module):
    """Two 3×3 convolutions and a shortcut without parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1: nn.Module = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(out_channels)
        self.conv2: nn.Module = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.missing_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out.add_(self._shortcut(x)), inplace=True)

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1 and not self.missing_channels:
            return x
        half = self.missing_channels // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.missing_channels - half))


class CifarResNet(nn.Module):
    """A residual network for 32×32 images, of depth 6n + 2 and widths 16, 32, 64.

    Args:
        depth: number of layers with weights on the longest path; 6n + 2.
        num_classes: C.
    """

    def __init__(self, depth: int = 56, num_classes: int = 10) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1: nn.Module = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, num_classes)

    def embed(self, x: Tensor) -> Tensor:
        """Return the pooled features, (N, 64), of normalised images (N, 3, H, W)."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.layer3(self.layer2(self.layer1(out)))
        return cast(Tensor, out.mean(dim=(2, 3), dtype=self.linear.weight.dtype))

    def classify(self, embedding: Tensor) -> Tensor:
        """Return the logits, (N, C), of an embedding (N, 64)."""
        return cast(Tensor, self.linear(embedding))

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))

    def fuse(self) -> None:
        """Fold each batch normalisation into the convolution before it; for inference alone."""
        self.eval()
        _fold(self, "conv1", "bn1")
        for stage in (self.layer1, self.layer2, self.layer3):
            for block in stage:
                _fold(block, "conv1", "bn1")
                _fold(block, "conv2", "bn2")


def cifar_resnet(depth: int = 56, num_classes: int = 10) -> CifarResNet:
    """Build a CIFAR ResNet.

    Args:
        depth: 20, 32, 44, 56 or 110.
        num_classes: C.

    Raises:
        UserError: the family has no member of this depth.
    """
    if depth not in DEPTHS:
        raise UserError(f"depth must be one of {', '.join(map(str, DEPTHS))}, got {depth}; choose one of these")
    return CifarResNet(depth, num_classes)


def _stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = _Block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(_Block(out_channels, out_channels, 1) for _ in range(blocks - 1)))


def _fold(owner: nn.Module, conv: str, norm: str) -> None:
    layer, scale = getattr(owner, conv), getattr(owner, norm)
    if isinstance(layer, nn.Conv2d) and isinstance(scale, nn.BatchNorm2d):
        setattr(owner, conv, fuse_conv_bn_eval(layer, scale))
        setattr(owner, norm, nn.Identity())
