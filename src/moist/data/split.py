"""Cutting a part off by seed, stratified by class where there are labels."""

from __future__ import annotations

import numpy as np

from moist.types import UserError

__all__ = ["cut"]


def cut(count: int, target: np.ndarray | None, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that stay and the rows that are cut off, each in ascending order.

    With labels every class gives its share, rounded by the largest remainder; a class always keeps one row.

    Args:
        count: N.
        target: (N,) class numbers, or None for a plain random cut.
        fraction: of the rows to cut off, at least one row.
        seed: of the draw.

    Raises:
        UserError: there are fewer than two rows.
    """
    if count < 2:
        raise UserError(f"cutting off a part takes at least 2 rows, got {count}; give more data")
    random = np.random.default_rng(seed)
    wanted = min(max(round(count * fraction), 1), count - 1)
    if target is None:
        taken = random.permutation(count)[:wanted]
    else:
        taken = _stratified(target, wanted, random)
    mask = np.zeros(count, dtype=bool)
    mask[taken] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def _stratified(target: np.ndarray, wanted: int, random: np.random.Generator) -> np.ndarray:
    sizes = np.bincount(target)
    shares = sizes * (wanted / len(target))
    quota = np.floor(shares).astype(np.int64)
    room = np.maximum(sizes - 1, 0)
    quota = np.minimum(quota, room)
    remainder = np.where(quota < room, shares - quota, -1.0)
    for label in np.argsort(-remainder, kind="stable")[: wanted - int(quota.sum())]:
        quota[label] += remainder[label] >= 0
    chosen = [random.permutation(np.flatnonzero(target == label))[: quota[label]] for label in range(len(sizes))]
    taken = np.concatenate(chosen)
    # Where every class has but one row, nothing is left to stratify and any row is as good as another.
    return taken if len(taken) else random.permutation(len(target))[:wanted]
