"""How a student reads raw inputs: fitted on the training part, saved as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from moist.config import Settings
from moist.data.dataset import IndexedDataset
from moist.data.image_transform import ImageTransform, fit_image_transform
from moist.data.schema import ImageSchema, TableSchema
from moist.data.shape import InputShape
from moist.data.table_transform import TableTransform, fit_table_transform
from moist.data.text_transform import TextTransform
from moist.types import UserError

__all__ = ["Transform", "TransformSettings", "fit_transform", "transform_from_dict"]


class TransformSettings(Settings):
    """How a student reads raw inputs; images and tables have nothing to choose.

    Args:
        text: ``ngrams`` for a bag of hashed n-grams, ``words`` for hashed words in order (for transformers).
        num_buckets: different ids.
        max_length: ids kept of a text.
        word_ngrams: longest run of words in ``ngrams``.
        char_ngrams: shortest and longest run of characters in ``ngrams``, or none.
        lowercase: drop case.
    """

    text: Literal["ngrams", "words"] = "ngrams"
    num_buckets: int = Field(16384, ge=1)
    max_length: int = Field(64, ge=1)
    word_ngrams: int = Field(2, ge=1)
    char_ngrams: tuple[int, int] | None = None
    lowercase: bool = True

    @model_validator(mode="after")
    def _check_char_ngrams(self) -> Self:
        if self.char_ngrams is not None and not 1 <= self.char_ngrams[0] <= self.char_ngrams[1]:
            raise ValueError(
                f"char_ngrams must be [shortest, longest] with 1 <= shortest <= longest, got {self.char_ngrams}"
            )
        return self


class Transform(Protocol):
    """From raw inputs to what a student reads, in two steps: once per data set, and once per batch."""

    @property
    def kind(self) -> str:
        """Return vision, text or tabular."""

    @property
    def input_shape(self) -> InputShape:
        """Return the shape of one input."""

    def encode(self, raw: np.ndarray) -> np.ndarray:
        """Return the encoded form of raw inputs (N, ...), to be kept in memory."""

    def to_tensor(self, encoded: Tensor) -> Tensor:
        """Return a batch of encoded inputs as a student reads it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the transform as JSON-like values."""


def fit_transform(train: IndexedDataset, settings: TransformSettings) -> Transform:
    """Return the transform for students of this data set, fitted on its training part."""
    if isinstance(train.schema, ImageSchema):
        return fit_image_transform(train.inputs, train.schema)
    if isinstance(train.schema, TableSchema):
        return fit_table_transform(train.inputs, train.schema)
    return _fit_text(train.inputs, settings)


def transform_from_dict(values: Mapping[str, Any]) -> Transform:
    """Return the transform that ``to_dict`` wrote.

    Raises:
        UserError: the values are not a transform's.
    """
    kind = values.get("kind")
    try:
        if kind == "vision":
            return ImageTransform.from_dict(dict(values))
        if kind == "tabular":
            return TableTransform.from_dict(dict(values))
        if kind == "text":
            return TextTransform.from_dict(dict(values))
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"a saved transform must be whole, this one is damaged ({error!r}); make the bundle again"
        ) from None
    raise UserError(f"a saved transform must be of kind vision, text or tabular, got {kind!r}; make the bundle again")


def _fit_text(texts: np.ndarray, settings: TransformSettings) -> TextTransform:
    """Keep no more ids than the longest training text has: padding that no text needs costs time in every batch."""
    grams = settings.text == "ngrams"
    transform = TextTransform(
        max_length=settings.max_length,
        num_buckets=settings.num_buckets,
        word_ngrams=settings.word_ngrams if grams else 1,
        char_ngrams=settings.char_ngrams if grams else None,
        lowercase=settings.lowercase,
    )
    longest = int(np.count_nonzero(transform.encode(texts), axis=1).max(initial=1))
    return TextTransform.from_dict({**transform.to_dict(), "max_length": longest})
