"""Small residual networks for images; at depth 1 the ResNet-8 of MLPerf Tiny (Banbury et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moist.data import InputShape
from moist.students.convolution import PooledClassifier, convolution
from moist.students.settings import NUM_CONVOLUTION_STAGES, StudentSettings
from moist.students.sparse import SparseBasicBlock

__all__ = ["BasicBlock", "resnet_stages"]


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is projected where the shape changes (He et al. 2016)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(in_channels, out_channels, stride=stride)
        self.second = convolution(out_channels, out_channels, relu=False)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = (
            nn.Identity() if same else convolution(in_channels, out_channels, kernel=1, stride=stride, relu=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, D, H, W) to (N, D', H / stride, W / stride)."""
        return torch.relu(self.second(self.first(features)) + self.shortcut(features))


def resnet_stages(settings: StudentSettings, shape: InputShape, num_classes: int) -> list[nn.Module]:
    """Return stem, basic blocks (each a stage of its own) and head.

    Args:
        settings: ``width`` w and ``depth`` blocks in each of three groups of w, 2w, 4w channels, strides 1, 2, 2;
            ``stem_stride`` s, whose kernel has 2s - 1 pixels a side, 3 at least; ``sparse`` for experts.
        shape: images (channels, height, width).
        num_classes: C.
    """
    channels = settings.width_at(0)
    stride = settings.stem_stride or 1
    stem = convolution(shape.shape[0], channels, kernel=max(3, 2 * stride - 1), stride=stride)
    stages: list[nn.Module] = [stem]
    for group in range(NUM_CONVOLUTION_STAGES):
        for block in range(settings.blocks):
            wider = settings.width_at(len(stages)) * 2**group
            stride = 2 if group > 0 and block == 0 else 1
            stages.append(_block(settings, len(stages) - 1, channels, wider, stride))
            channels = wider
    return [*stages, PooledClassifier(channels, num_classes)]


def _block(settings: StudentSettings, number: int, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    sparse = settings.sparse
    if sparse is not None and sparse.is_sparse(number, settings.blocks * NUM_CONVOLUTION_STAGES):
        return SparseBasicBlock(in_channels, out_channels, stride, sparse)
    return BasicBlock(in_channels, out_channels, stride)
