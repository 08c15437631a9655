"""From raw inputs as users have them to the array that a graph reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from moist.encoding import HashedText, TableColumns
from moist.errors import UserError

__all__ = ["ImageReader", "Reader", "TableReader", "TextReader", "make_reader"]


class Reader(Protocol):
    """Checks raw inputs of one kind and turns them into what a graph reads."""

    def read(self, raw: Any) -> np.ndarray:
        """Return N raw inputs as an array (N, ...)."""


class ImageReader:
    """Images, uint8 (N, height, width, channels)."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        self._shape = (height, width, channels)

    def read(self, raw: Any) -> np.ndarray:
        """Return the images as they are.

        Raises:
            UserError: they are of another shape or type.
        """
        images = np.asarray(raw)
        if images.dtype != np.uint8 or images.shape[1:] != self._shape:
            raise UserError(
                f"images must be uint8 of shape (N, {', '.join(map(str, self._shape))}), got {images.dtype} of shape "
                f"{images.shape}; decode them with moist.data.read_inputs, or resize them"
            )
        return images


class TextReader:
    """Texts, hashed to ids."""

    def __init__(self, encoder: HashedText) -> None:
        self._encoder = encoder

    def read(self, raw: Any) -> np.ndarray:
        """Return ids, int64 (N, L).

        Raises:
            UserError: it is one text instead of a list, or something else than texts.
        """
        if isinstance(raw, (str, bytes)) or any(not isinstance(text, str) for text in raw):
            raise UserError(f"texts must be a list of strings, got {raw!r:.80}; put a single text into a list")
        return self._encoder.encode(raw).astype(np.int64)


class TableReader:
    """Rows of a table, float32 (N, F): numbers and category codes, NaN where something is missing."""

    def __init__(self, columns: TableColumns) -> None:
        self._columns = columns

    def read(self, raw: Any) -> np.ndarray:
        """Return the rows as float32.

        Raises:
            UserError: they have another number of columns, or are no numbers.
        """
        try:
            rows = np.asarray(raw, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise UserError(f"rows must be numbers, see encode, got something else ({error}); encode them") from None
        if rows.ndim != 2 or rows.shape[1] != len(self._columns.columns):
            names = ", ".join(column.name for column in self._columns.columns[:12])
            raise UserError(
                f"rows must be of shape (N, {len(self._columns.columns)}), got {rows.shape}; give the columns {names}"
            )
        return rows

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return rows given as mappings from column to value as numbers; see :meth:`TableColumns.encode_rows`."""
        return self._columns.encode_rows(rows)


def make_reader(schema: Mapping[str, Any], transform: Mapping[str, Any]) -> Reader:
    """Return the reader for inputs of a schema, as manifests hold it.

    Raises:
        KeyError: something is missing.
    """
    if schema["kind"] == "vision":
        return ImageReader(schema["height"], schema["width"], schema["channels"])
    if schema["kind"] == "text":
        return TextReader(HashedText.from_dict(transform))
    return TableReader(TableColumns.from_dict(schema))
