"""Where a task gets its teacher's signals from: live, or from a cache. The task cannot tell which."""

from __future__ import annotations

import torch

from moist.data import AugmentSettings, IndexedDataset
from moist.teachers.interface import Teacher
from moist.teachers.signals import SignalCache
from moist.teachers.views import check_views, raw_views
from moist.types import Batch, TeacherSignal

__all__ = ["CachedTeacher", "OnlineTeacher"]


class OnlineTeacher:
    """Runs the teacher on each batch's raw views, replayed from row and view seed.

    Args:
        teacher: whose signals.
        dataset: the data set that batches are drawn from.
        augment: what makes its views above 0; the same as the loader's.
    """

    def __init__(self, teacher: Teacher, dataset: IndexedDataset, augment: AugmentSettings | None = None) -> None:
        self.teacher = teacher
        self.dataset = dataset
        self.augment = augment

    def __call__(self, batch: Batch) -> TeacherSignal:
        index, view = batch.index.numpy(), batch.view.numpy()
        check_views(view, self.dataset, self.augment)
        return self.teacher.signal(raw_views(self.dataset, index, view, self.augment))


class CachedTeacher:
    """Reads each batch's signals from a cache.

    Args:
        cache: of the data set that batches are drawn from, with all the views that they show.
    """

    def __init__(self, cache: SignalCache) -> None:
        self.cache = cache

    def __call__(self, batch: Batch) -> TeacherSignal:
        index, view = batch.index.numpy(), batch.view.numpy()
        embedding = self.cache.embedding(index, view)
        return TeacherSignal(
            logits=torch.from_numpy(self.cache.logits(index, view)),
            embedding=None if embedding is None else torch.from_numpy(embedding),
        )
