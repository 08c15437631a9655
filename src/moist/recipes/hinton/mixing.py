"""A larger transfer set: mixes of two training images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from moist.training import BatchSource
from moist.types import Batch

__all__ = ["MixedImages", "blend_weights", "mixed", "side_weights"]

REACH = 0.3  # of an image's side: how far from its centre the line of a cut may be


class MixedImages:
    """Batches in which images are mixed with the one before them: half of the mixes blended, half cut along a line.

    A blend is the weighted mean of two images, by a weight drawn from [0, 1). A cut shows one image on one side of a
    line and the other on the other side; its direction and its distance from the centre are drawn. All draws depend on
    (seed, epoch) alone. No image is moved. A mix has no label; a teacher must be asked about it.

    Args:
        batches: of images as they are (N, C, H, W).
        share: of the images that are mixed.
        seed: of the draws.

    The blends are those of Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization" (arXiv 1710.09412), with
    α = 1; the cuts are after Yun et al. 2019, "CutMix" (arXiv 1905.04899), along lines instead of rectangles. That the
    teacher sees the very same mix, instead of having its answers mixed alike, is after Beyer et al. 2022, "Knowledge
    distillation: A good teacher is patient and consistent" (arXiv 2106.05237).
    """

    def __init__(self, batches: BatchSource, share: float, seed: int) -> None:
        self.batches = batches
        self.share = share
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.batches)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        random = np.random.default_rng([self.seed, epoch, 1])  # the 1 sets the draws apart from the order of the rows
        for batch in self.batches.epoch(epoch):
            size, height, width = len(batch.index), *batch.inputs.shape[-2:]
            drawn = torch.from_numpy(random.random((5, size), dtype=np.float32))
            weights = torch.where(
                (drawn[0] < 0.5).view(-1, 1, 1),
                blend_weights(drawn[1]),
                side_weights(2 * math.pi * drawn[2], REACH * (2 * drawn[3] - 1), height, width),
            )
            yield mixed(batch, torch.where((drawn[4] < self.share).view(-1, 1, 1), weights, 1.0))


def blend_weights(weight_N: Tensor) -> Tensor:
    """Return every pixel's weight (N, 1, 1) in a blend."""
    return weight_N.view(-1, 1, 1)


def side_weights(angle_N: Tensor, distance_N: Tensor, height: int, width: int) -> Tensor:
    """Return weights (N, H, W): 1 on one side of a line, 0 on the other.

    Args:
        angle_N: radians, of the direction in which the weights rise; 0 is down, π/2 to the right.
        distance_N: of the line from the centre, as a share of the image's side; negative against the direction.
        height: H, pixels.
        width: W, pixels.
    """
    down = torch.linspace(0.5 / height, 1 - 0.5 / height, height) - 0.5
    right = torch.linspace(0.5 / width, 1 - 0.5 / width, width) - 0.5
    angle, distance = angle_N.view(-1, 1, 1), distance_N.view(-1, 1, 1)
    return (angle.cos() * down.view(-1, 1) + angle.sin() * right > distance).float()


def mixed(batch: Batch, weights_NHW: Tensor) -> Batch:
    """Return a batch of which every pixel has its weight, and that of the image before it the rest; no labels.

    Args:
        batch: images (N, C, H, W).
        weights_NHW: in [0, 1]; (N, 1, 1) for the same everywhere.
    """
    images = batch.inputs
    return replace(batch, inputs=images.roll(1, 0).lerp(images, weights_NHW.unsqueeze(1)), target=None)
