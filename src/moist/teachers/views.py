"""The raw inputs of given views: what the teacher sees is what the student's loader shows."""

from __future__ import annotations

import numpy as np
import torch

from moist.data import AugmentSettings, IndexedDataset, augment
from moist.types import UserError

__all__ = ["check_views", "raw_views"]


def check_views(views: np.ndarray, dataset: IndexedDataset, settings: AugmentSettings | None) -> None:
    """Check that the data set has these view seeds.

    Raises:
        UserError: a seed is below 0, or above 0 without an augmentation that makes such views.
    """
    if (views < 0).any():
        raise UserError(f"view seeds must be 0 (the plain view) or above, got {int(views.min())}; use 0, 1, 2, ...")
    if (views > 0).any() and (dataset.kind != "vision" or settings is None or not settings.active):
        raise UserError(
            "views above 0 need images and augment settings (crop, flip, cutout or cutmix), got view "
            f"{int(views.max())} of {dataset.name!r} ({dataset.kind}) without; use the plain view, 0, or set augment"
        )


def raw_views(
    dataset: IndexedDataset, index: np.ndarray, view: np.ndarray, settings: AugmentSettings | None
) -> np.ndarray:
    """Return raw inputs (N, ...), each under its view.

    Args:
        dataset: where they come from.
        index: (N,) int64 rows.
        view: (N,) int64 view seeds.
        settings: the augmentation; None where all views are plain.
    """
    raw = np.asarray(dataset.inputs[index])
    if settings is None or not (view > 0).any():
        return raw
    images = torch.from_numpy(np.ascontiguousarray(raw))
    return augment(images, torch.from_numpy(index), torch.from_numpy(view), settings, dataset.inputs).numpy()
