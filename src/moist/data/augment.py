"""Views: augmentations of whole batches of images, replayable from (index, view seed) alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from moist.config import Settings
from moist.types import UserError

__all__ = ["AugmentSettings", "View", "augment", "mix"]

NUM_DRAWS = 10
UNIT = float(2**63)  # draws are below it


class AugmentSettings(Settings):
    """How images are varied; all off by default.

    Args:
        crop: pixels of black border that are added on every side before an image of the old size is cut out.
        flip: mirror left to right in half of the views.
        cutout: side in pixels of a black square at a random place (its edges may lie outside); 0 for none.
        cutmix: share of the views in which another training image, varied likewise, covers a box of random size and
            place. Such a view has no label, only a teacher's word: where there are any, labels are left out.
    """

    crop: int = Field(0, ge=0)
    flip: bool = False
    cutout: int = Field(0, ge=0)
    cutmix: float = Field(0.0, ge=0, le=1)

    @property
    def active(self) -> bool:
        """Tell whether any variation is on."""
        return bool(self.crop or self.flip or self.cutout or self.cutmix)


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


def augment(
    images: Tensor, index: Tensor, view: Tensor, settings: AugmentSettings, source: np.ndarray | None = None
) -> Tensor:
    """Return each image under its view; an image's result does not depend on the rest of the batch.

    Args:
        images: (N, H, W, C) uint8.
        index: (N,) int64 row of each image in its data set.
        view: (N,) int64 view seed; 0 leaves the image as it is.
        settings: which variations.
        source: (M, H, W, C) uint8, all images of the data set; needed where ``settings.cutmix`` is above 0.

    Returns:
        (N, H, W, C) uint8.

    Raises:
        UserError: cutmix has no source.

    Paper: for cutmix, Yun et al. 2019 (arXiv 1905.04899), section 3; deviation: the labels are not mixed, since the
    teacher sees the same view and is asked (Beyer et al. 2022, arXiv 2106.05237).
    """
    if not settings.active or not bool(view.any()):
        return images
    draws, plain = _draw(index, view).to(images.device), view.to(images.device) == 0
    varied = _vary(images, draws, plain, settings)
    if settings.cutmix:
        if source is None:
            raise UserError(
                f"cutmix={settings.cutmix:g} shows parts of other images, got none; give the data set's as source"
            )
        varied = _cover(varied, draws, view, plain, settings, source)
    return varied


def _draw(index: Tensor, view: Tensor) -> Tensor:
    """Return the random numbers (D, N) of each image and view, below 2^63.

    They have fixed places, so that switching one variation on or off leaves the others as they were.
    """
    return torch.from_numpy(mix(index.cpu().numpy(), view.cpu().numpy(), np.arange(NUM_DRAWS)[:, None]))


def _vary(images: Tensor, draws: Tensor, plain: Tensor, settings: AugmentSettings) -> Tensor:
    """Return each image under all variations that need no other image."""
    if settings.crop:
        images = _crop(images, draws[0], draws[1], plain, settings.crop)
    if settings.flip:
        images = _flip(images, (draws[2] % 2 == 1) & ~plain)
    if settings.cutout:
        images = _cut_out(images, draws[3], draws[4], plain, settings.cutout)
    return images


def _crop(images: Tensor, down: Tensor, right: Tensor, plain: Tensor, pad: int) -> Tensor:
    """Cut images of the old size out of padded ones.

    A line of a crop is one run of bytes in the padded batch, so that all lines are rows of an overlapping view of it:
    one gather of long runs, ten times faster than one of pixels.
    """
    n, height, width, channels = images.shape
    line, edge = width * channels, pad * channels
    padded = images.new_zeros((n, height + 2 * pad, line + 2 * edge))
    padded[:, pad : pad + height, edge : edge + line] = images.reshape(n, height, line)
    top = torch.where(plain, pad, down % (2 * pad + 1))
    left = torch.where(plain, pad, right % (2 * pad + 1))
    first = torch.arange(n, device=images.device) * (height + 2 * pad) + top
    lines = first[:, None] + torch.arange(height, device=images.device)
    starts = lines * (line + 2 * edge) + (left * channels)[:, None]
    runs = padded.as_strided((padded.numel() - line + 1, line), (1, 1))
    return runs.index_select(0, starts.view(-1)).view(n, height, width, channels)


def _flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror the chosen images, left to right."""
    rows = chosen.nonzero()[:, 0]
    return _replace(images, rows, images.index_select(0, rows).flip(2))


def _cut_out(images: Tensor, down: Tensor, right: Tensor, plain: Tensor, side: int) -> Tensor:
    """Blacken a square around a random pixel (DeVries and Taylor, 2017, "Improved regularization ... with Cutout")."""
    n, height, width, channels = images.shape
    hit = _within(down % height - side // 2, side, height) & ~plain[:, None]
    keep = ~_within(right % width - side // 2, side, width).repeat_interleave(channels, dim=1)
    lines = images.reshape(n * height, width * channels)
    rows = hit.view(-1).nonzero()[:, 0]
    blackened = lines.index_select(0, rows) * keep.view(torch.uint8).index_select(0, rows // height)
    return _replace(lines, rows, blackened).view(n, height, width, channels)


def _cover(
    images: Tensor, draws: Tensor, view: Tensor, plain: Tensor, settings: AugmentSettings, source: np.ndarray
) -> Tensor:
    """Cover a box of some images by the same box of another one, under its own variation for this view."""
    rows = ((draws[5].double() / UNIT < settings.cutmix) & ~plain).nonzero()[:, 0]
    if not len(rows):
        return images
    drawn, (height, width) = draws[:, rows], images.shape[1:3]
    index, view = drawn[6] % len(source), view.to(images.device)[rows]
    others = torch.from_numpy(source[index.cpu().numpy()]).to(images.device)
    others = _vary(others, _draw(index, view).to(images.device), view == 0, settings)
    side = (drawn[7].double() / UNIT).sqrt()  # the box's share of the image, if it lies inside, is even in [0, 1)
    down = _near(drawn[8] % height, side * height, height)
    right = _near(drawn[9] % width, side * width, width)
    box = (down[:, :, None] & right[:, None, :])[..., None]
    return _replace(images, rows, torch.where(box, others, images[rows]))


def _near(centre: Tensor, length: Tensor, size: int) -> Tensor:
    """Tell of each position (N, size) whether it is in a stretch of this length around its centre."""
    position = torch.arange(size, device=centre.device)
    return 2 * (position - centre[:, None]).abs() < length[:, None]


def _within(start: Tensor, side: int, length: int) -> Tensor:
    position = torch.arange(length, device=start.device)
    return (position >= start[:, None]) & (position < start[:, None] + side)


def _replace(values: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """Return ``values`` with these rows replaced: a gather, since PyTorch's scatter of bytes is many times slower."""
    order = torch.arange(len(values), device=values.device)
    order[rows] = len(values) + torch.arange(len(rows), device=values.device)
    return torch.cat([values, new]).index_select(0, order)
