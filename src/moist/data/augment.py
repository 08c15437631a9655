"""Views: augmentations of whole batches of images, replayable from (index, view seed) alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from moist.config import Settings

__all__ = ["AugmentSettings", "View", "augment", "mix"]


class AugmentSettings(Settings):
    """How images are varied; all off by default.

    Args:
        crop: pixels of black border that are added on every side before an image of the old size is cut out.
        flip: mirror left to right in half of the views.
        cutout: side in pixels of a black square at a random place (its edges may lie outside); 0 for none.
    """

    crop: int = Field(0, ge=0)
    flip: bool = False
    cutout: int = Field(0, ge=0)

    @property
    def active(self) -> bool:
        """Tell whether any variation is on."""
        return bool(self.crop or self.flip or self.cutout)


@dataclass(frozen=True)
class View:
    """One augmentation of one example.

    Args:
        index: the example's row.
        seed: of the augmentation; 0 is the plain view.
    """

    index: int
    seed: int


def mix(*keys: np.ndarray | int) -> np.ndarray:
    """Return a uniform 63-bit number for each tuple of ``keys``, the same on every machine.

    A chain of SplitMix64 finalisers: a counter-based generator, so that any number is found without those before it.

    Args:
        keys: int64 arrays (or ints) that broadcast.

    Paper: Steele, Lea, Flood (2014), "Fast splittable pseudorandom number generators", figure 15.
    """
    state: np.ndarray = np.zeros(1, dtype=np.uint64)
    for key in keys:
        state = _splitmix64(state ^ np.asarray(key, dtype=np.int64).astype(np.uint64))
    return np.asarray(state >> np.uint64(1)).astype(np.int64)


def _splitmix64(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def augment(images: Tensor, index: Tensor, view: Tensor, settings: AugmentSettings) -> Tensor:
    """Return each image under its view; an image's result does not depend on the rest of the batch.

    Args:
        images: (N, H, W, C) uint8.
        index: (N,) int64 row of each image in its data set.
        view: (N,) int64 view seed; 0 leaves the image as it is.
        settings: which variations.

    Returns:
        (N, H, W, C) uint8.
    """
    if not settings.active or not bool(view.any()):
        return images
    rows, seeds = index.cpu().numpy(), view.cpu().numpy()
    # Draws have fixed numbers, so that switching one variation on or off leaves the others as they were.
    draws = [torch.from_numpy(mix(rows, seeds, number)).to(images.device) for number in range(5)]
    plain = view.to(images.device) == 0
    if settings.crop or settings.flip:
        images = _shift(images, draws, plain, settings)
    if settings.cutout:
        images = _cut_out(images, draws, plain, settings.cutout)
    return images


def _shift(images: Tensor, draws: list[Tensor], plain: Tensor, settings: AugmentSettings) -> Tensor:
    """Crop and flip by two gathers, first of whole lines, then within lines: far faster than one of pixels."""
    n, height, width, channels = images.shape
    pad = settings.crop
    if pad:
        images = functional.pad(images, (0, 0, pad, pad, pad, pad))
    top = torch.where(plain, pad, draws[0] % (2 * pad + 1))
    left = torch.where(plain, pad, draws[1] % (2 * pad + 1))
    flip = (draws[2] % 2 == 1) & ~plain & settings.flip
    device = images.device
    line = torch.arange(height, device=device) + top[:, None]
    line = line + torch.arange(n, device=device)[:, None] * (height + 2 * pad)
    lines = images.reshape(n * (height + 2 * pad), -1).index_select(0, line.reshape(-1)).view(n, height, -1)
    place = torch.arange(width, device=device).expand(n, width)
    place = torch.where(flip[:, None], width - 1 - place, place) + left[:, None]
    byte = place[:, :, None] * channels + torch.arange(channels, device=device)
    byte = byte.view(n, 1, width * channels).expand(n, height, width * channels)
    return lines.gather(2, byte).view(n, height, width, channels)


def _cut_out(images: Tensor, draws: list[Tensor], plain: Tensor, side: int) -> Tensor:
    """Blacken a square around a random pixel (DeVries and Taylor, 2017, "Improved regularization ... with Cutout")."""
    n, height, width, channels = images.shape
    inside_rows = _within(draws[3] % height - side // 2, side, height)
    inside_columns = _within(draws[4] % width - side // 2, side, width)
    # On lines of bytes instead of pixels, so that the innermost axis is long: far faster.
    bytes_outside = ~inside_columns.repeat_interleave(channels, dim=1)
    keep = (~inside_rows | plain[:, None])[:, :, None] | bytes_outside[:, None, :]
    lines = images.reshape(n, height, width * channels) * keep.view(torch.uint8)
    return lines.view(n, height, width, channels)


def _within(start: Tensor, side: int, length: int) -> Tensor:
    position = torch.arange(length, device=start.device)
    return (position >= start[:, None]) & (position < start[:, None] + side)
