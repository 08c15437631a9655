"""Texts as hashed ids: no vocabulary to keep, and the same ids on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moist.data.shape import InputShape
from moist.encoding import HashedText

__all__ = ["TextTransform"]


@dataclass(frozen=True)
class TextTransform(HashedText):
    """Hashed words and n-grams as a student reads them; the hashing itself needs no torch, see :class:`HashedText`."""

    @property
    def input_shape(self) -> InputShape:
        """Return the shape of one encoded text."""
        return InputShape("text", (self.max_length,), num_buckets=self.num_buckets)

    def to_tensor(self, encoded: Tensor) -> Tensor:
        """Return a batch of encoded texts as int64 ids (N, max_length)."""
        return encoded.to(torch.int64)
