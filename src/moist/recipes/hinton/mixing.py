"""A larger transfer set: mixes of two training images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from moist.training import BatchSource
from moist.types import Batch

__all__ = ["MixedImages", "mixed"]


class MixedImages:
    """Batches in which some images are mixed with the one before them, by weights drawn from [0, 1).

    Which ones and the weights depend on (seed, epoch) alone. No image is moved. A mix has no label; a teacher must be
    asked about it.

    Args:
        batches: of images as they are.
        share: of the images that are mixed.
        seed: of the draws.

    The mixes are those of Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization" (arXiv 1710.09412), with
    α = 1. That the teacher sees the very same mix, instead of having its answers mixed alike, is after Beyer et al.
    2022, "Knowledge distillation: A good teacher is patient and consistent" (arXiv 2106.05237), section 3.
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
            size = len(batch.index)
            weight = np.where(random.random(size) < self.share, random.random(size), 1.0)
            yield mixed(batch, torch.from_numpy(weight).float())


def mixed(batch: Batch, weight_N: Tensor) -> Batch:
    """Return a batch of which every image has its weight, and the one before it in the batch the rest; no labels."""
    weight = weight_N.view(-1, *[1] * (batch.inputs.dim() - 1))
    return replace(batch, inputs=batch.inputs.roll(1, 0).lerp(batch.inputs, weight), target=None)
