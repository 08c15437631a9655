"""Batches of a data set, in an order that (seed, epoch) alone decide."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from moist.data.augment import AugmentSettings, augment, mix
from moist.data.dataset import IndexedDataset
from moist.data.transforms import Transform
from moist.types import Batch, UserError

__all__ = ["Loader"]


class Loader:
    """Batches for training, from encoded inputs kept in memory as one tensor.

    An epoch's order and views depend on (seed, epoch) alone, so that a resumed run sees what an unbroken one would.

    Args:
        dataset: the examples.
        transform: how the student reads them.
        batch_size: N.
        seed: of the order and of the choice of views.
        views: number of view seeds, 1 to ``views``, from which each example gets one in every epoch; 0 for plain views.
        augment: how view seeds vary images; None where they do not.
        rows: (M,) row numbers to draw from; None for all. ``Batch.index`` is a row number of ``dataset`` even so.
    """

    def __init__(
        self,
        dataset: IndexedDataset,
        transform: Transform,
        *,
        batch_size: int,
        seed: int,
        views: int = 0,
        augment: AugmentSettings | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        if batch_size < 1 or views < 0:
            raise UserError(
                f"batch_size must be at least 1 and views at least 0, got {batch_size} and {views}; change them"
            )
        if augment is not None and augment.active and dataset.kind != "vision":
            raise UserError(f"augmentation is for images, {dataset.name} is of kind {dataset.kind}; leave it out")
        self.rows = np.arange(len(dataset)) if rows is None else np.asarray(rows, dtype=np.int64)
        if not len(self.rows):
            raise UserError(f"a loader must have at least one row of {dataset.name}, got none; use fewer domains")
        self.batch_size = batch_size
        self.seed = seed
        self.views = views
        self.augment = augment
        self.transform = transform
        self._encoded = _tensor(transform.encode(dataset.inputs))
        self._target = None if dataset.target is None else _tensor(dataset.target)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return max(len(self.rows) // self.batch_size, 1)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of one epoch; an incomplete last one is dropped unless it is the only one."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
        for number in range(len(self)):
            index = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield self._batch(index, self._views(index, epoch))

    def plain(self, batch_size: int | None = None) -> Iterator[Batch]:
        """Yield all rows in order, each under its plain view."""
        size = batch_size or self.batch_size
        for start in range(0, len(self.rows), size):
            index = self.rows[start : start + size]
            yield self._batch(index, np.zeros(len(index), dtype=np.int64))

    def _views(self, index: np.ndarray, epoch: int) -> np.ndarray:
        if not self.views:
            return np.zeros(len(index), dtype=np.int64)
        return 1 + mix(index, epoch, self.seed) % self.views

    def _batch(self, index: np.ndarray, view: np.ndarray) -> Batch:
        index_N, view_N = torch.from_numpy(index), torch.from_numpy(view)
        encoded = self._encoded.index_select(0, index_N)
        if self.augment is not None:
            encoded = augment(encoded, index_N, view_N, self.augment, self._encoded.numpy())
        return Batch(index_N, view_N, self.transform.to_tensor(encoded), self._labels(index_N, view_N))

    def _labels(self, index_N: Tensor, view_N: Tensor) -> Tensor | None:
        """Return the labels; none where some of the images may be of two classes."""
        mixed = self.augment is not None and self.augment.cutmix > 0 and bool(view_N.any())
        return None if self._target is None or mixed else self._target.index_select(0, index_N)


def _tensor(values: np.ndarray) -> Tensor:
    """Return a tensor that shares the array's memory where the array may be written to, as torch demands."""
    return torch.from_numpy(values if values.flags.writeable else values.copy())
