"""The shape of what a student reads."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["InputShape"]


@dataclass(frozen=True)
class InputShape:
    """The shape of one input as ``Transform.to_tensor`` gives it, without the batch axis.

    Args:
        kind: vision, text or tabular.
        shape: vision (C, H, W); text (L,) ids; tabular (D,) numbers followed by ``len(num_categories)`` codes.
        num_categories: tabular: the number of codes of each categorical column, code 0 (unknown or missing) included.
        num_buckets: text: ids are 1 to ``num_buckets``, and 0 is padding.
    """

    kind: str
    shape: tuple[int, ...]
    num_categories: tuple[int, ...] = ()
    num_buckets: int = 0
