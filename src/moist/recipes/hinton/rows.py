"""Which training rows a network sees: a share of each class, some classes only, or all but some."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from moist.config import Settings
from moist.types import UserError

__all__ = ["RowsSettings", "choose_rows"]


class RowsSettings(Settings):
    """A choice of training rows.

    Args:
        fraction: share of each class's rows.
        seed: of that draw.
        only: numbers of the classes that are kept; None for all.
        without: numbers of the classes that are left out.
    """

    fraction: float = Field(1.0, gt=0, le=1)
    seed: int = 0
    only: tuple[int, ...] | None = None
    without: tuple[int, ...] = ()


def choose_rows(settings: RowsSettings, target_N: np.ndarray | None) -> np.ndarray:
    """Return the numbers (M,) of the chosen rows, in order; at least one of each class that is kept.

    Raises:
        UserError: the rows have no labels, or none is left.
    """
    if target_N is None:
        raise UserError("choosing rows by class needs labels, got none; name data.label_column")
    kept = set(np.unique(target_N).tolist() if settings.only is None else settings.only) - set(settings.without)
    draw = np.random.default_rng(settings.seed)
    chosen = [
        draw.permutation(rows)[: max(1, round(settings.fraction * len(rows)))]
        for label in sorted(kept)
        if len(rows := np.flatnonzero(target_N == label))
    ]
    if not chosen:
        raise UserError(f"some rows must be left to train on, got none of classes {sorted(kept)}; keep more classes")
    return np.sort(np.concatenate(chosen))
