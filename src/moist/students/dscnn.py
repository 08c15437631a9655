"""Depthwise-separable convolutional networks for images, after the DS-CNN of Zhang et al. 2017 and MobileNet."""

from __future__ import annotations

from torch import nn

from moist.data import InputShape
from moist.students.convolution import PooledClassifier, convolution
from moist.students.settings import NUM_CONVOLUTION_STAGES, StudentSettings

__all__ = ["dscnn_stages"]

# A strided stem quarters all later work; images smaller than this have no resolution to spare.
SMALLEST_STRIDED_SIDE = 24


def dscnn_stages(settings: StudentSettings, shape: InputShape, num_classes: int) -> list[nn.Module]:
    """Return stem, separable blocks (each a stage of its own) and head.

    Args:
        settings: ``width`` w and ``depth`` blocks in each of three groups of w, 2w, 4w channels, strides 1, 2, 2.
        shape: images (channels, height, width); the stem's stride, where not given, is 2 from 24 pixels on.
        num_classes: C.
    """
    channels = settings.width_at(0)
    stride = settings.stem_stride or (2 if min(shape.shape[1:]) >= SMALLEST_STRIDED_SIDE else 1)
    stages: list[nn.Module] = [convolution(shape.shape[0], channels, stride=stride)]
    for group in range(NUM_CONVOLUTION_STAGES):
        for block in range(settings.blocks):
            wider = settings.width_at(len(stages)) * 2**group
            stages.append(_separable(channels, wider, stride=2 if group > 0 and block == 0 else 1))
            channels = wider
    return [*stages, PooledClassifier(channels, num_classes)]


def _separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """One 3×3 filter per channel, then a 1×1 convolution that mixes the channels."""
    depthwise = convolution(in_channels, in_channels, stride=stride, groups=in_channels)
    return nn.Sequential(depthwise, convolution(in_channels, out_channels, kernel=1))
