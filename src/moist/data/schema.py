"""What one raw input looks like: an image's size, a text, or a table's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from moist.encoding import MISSING, Column, TableColumns, listed_columns, missing_column
from moist.errors import UserError

__all__ = [
    "Column",
    "ImageSchema",
    "Schema",
    "TableSchema",
    "TextSchema",
    "fit_table_schema",
    "holds_strings",
    "listed_columns",
    "missing_column",
    "reads_as_numbers",
    "schema_from_dict",
]

FEW_CATEGORIES = 100


@dataclass(frozen=True)
class ImageSchema:
    """Images of one size: uint8 (height, width, channels)."""

    height: int
    width: int
    channels: int

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as JSON-like values."""
        return {"kind": "vision", "height": self.height, "width": self.width, "channels": self.channels}


@dataclass(frozen=True)
class TextSchema:
    """Texts, one string each; ``column`` is the name that files of texts gave them."""

    column: str = "text"

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as JSON-like values."""
        return {"kind": "text", "column": self.column}


@dataclass(frozen=True)
class TableSchema(TableColumns):
    """The columns of a table, in order, read from whole tables too."""

    def encode_frame(self, table: pa.Table | Mapping[str, Sequence[Any]], origin: str = "the table") -> np.ndarray:
        """Return the rows of ``table`` as raw inputs.

        Args:
            table: at least the columns of this schema, by name, in any order.
            origin: what to call the table in an error.

        Returns:
            (N, F) float32: numbers and category codes; NaN where a value is missing or a category is unknown.

        Raises:
            UserError: a column is missing, or a numeric column holds something else.
        """
        table = table if isinstance(table, pa.Table) else _table(table)
        for column in self.columns:
            if column.name not in table.column_names:
                raise missing_column(column.name, table.column_names, origin)
        raw = np.empty((table.num_rows, len(self.columns)), dtype=np.float32)
        for i, column in enumerate(self.columns):
            values = table[column.name]
            if column.kind == "numeric":
                raw[:, i] = _numbers(values, column.name, origin)
            else:
                raw[:, i] = _codes(values, column.categories)
        return raw


Schema = ImageSchema | TextSchema | TableSchema


def schema_from_dict(values: Mapping[str, Any]) -> Schema:
    """Return the schema that ``to_dict`` wrote."""
    if values["kind"] == "vision":
        return ImageSchema(values["height"], values["width"], values["channels"])
    if values["kind"] == "text":
        return TextSchema(values["column"])
    return TableSchema.from_dict(values)


def fit_table_schema(table: pa.Table, origin: str) -> TableSchema:
    """Return the columns' kinds and categories as the training rows ``table`` show them.

    Numbers, and strings that all read as numbers, are numeric; other strings and booleans are categorical.

    Raises:
        UserError: a column is of a type that a table student cannot read, or has too many categories.
    """
    if not table.num_columns:
        raise UserError(f"{origin} must have at least one column besides the label; add input columns")
    return TableSchema(tuple(_fit_column(name, table[name], origin) for name in table.column_names))


def _fit_column(name: str, values: pa.ChunkedArray, origin: str) -> Column:
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = _strings(values)
        kind = values.type
    if pa.types.is_boolean(kind):
        return Column(name, "categorical", ("false", "true"))
    if _is_numeric(kind):
        return Column(name, "numeric")
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UserError(
            f"columns must hold numbers, strings or true/false; column {name!r} of {origin} holds {kind}; "
            f"convert it, or leave it out with drop_columns: [{name}]"
        )
    known = _present(values)
    if _parse(known) is not None:
        return Column(name, "numeric")
    categories = sorted(set(known.to_pylist()))
    if len(categories) > max(FEW_CATEGORIES, len(values) // 2):
        raise UserError(
            f"a categorical column must repeat its values; column {name!r} of {origin} has {len(categories)} different "
            f"values in {len(values)} rows; leave it out with drop_columns: [{name}], or say kind: text"
        )
    return Column(name, "categorical", tuple(categories))


def _is_numeric(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(test(kind) for test in tests)


def reads_as_numbers(values: pa.Array | pa.ChunkedArray) -> bool:
    """Tell whether a column holds numbers, or strings that all read as numbers where they are not missing."""
    return _is_numeric(values.type) or (holds_strings(values.type) and _parse(_present(values)) is not None)


def holds_strings(kind: pa.DataType) -> bool:
    """Tell whether a column of this type holds strings."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _table(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    return pa.table({str(name): pa.array(values, from_pandas=True) for name, values in columns.items()})


def _strings(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ``values`` as strings without surrounding blanks; missing ones become null."""
    if pa.types.is_floating(values.type):
        # A whole number that passed through a float column (missing values do that in CSV) keeps its name: 3, not 3.0.
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
        if pc.all(pc.equal(values, pc.floor(values)), min_count=0).as_py():
            values = values.cast(pa.int64())
    text = pc.utf8_trim_whitespace(values.cast(pa.large_string()))
    gone = pc.is_in(pc.utf8_lower(text), value_set=pa.array(MISSING, pa.large_string()))
    return pc.if_else(gone, pa.scalar(None, pa.large_string()), text)


def _present(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.drop_null(_strings(values))


def _parse(text: pa.ChunkedArray) -> pa.ChunkedArray | None:
    try:
        return text.cast(pa.float64())
    except pa.ArrowInvalid:
        return None


def _numbers(values: pa.ChunkedArray, name: str, origin: str) -> np.ndarray:
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_dictionary(values.type):
        text = _strings(values)
        parsed = _parse(text)
        if parsed is None:
            told = enumerate(text.to_pylist(), start=1)
            row, bad = next((row, value) for row, value in told if value is not None and not _is_number(value))
            raise UserError(
                f"column {name!r} must hold numbers, as it did in training; row {row} of {origin} holds {bad!r}; "
                "mend the row or leave the value empty"
            )
        values = parsed
    try:
        numbers = values.cast(pa.float64(), safe=False)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise UserError(
            f"column {name!r} must hold numbers, as it did in training; in {origin} it holds {values.type}; convert it"
        ) from None
    array = np.asarray(numbers.fill_null(np.nan).to_numpy(), dtype=np.float64)
    too_large = np.abs(array) > np.finfo(np.float32).max
    if too_large.any():
        row = int(np.flatnonzero(too_large)[0])
        raise UserError(
            f"numbers must be finite and fit in 32 bits; column {name!r} of {origin} holds {array[row]} in row "
            f"{row + 1}; mend the row or leave the value empty"
        )
    return array.astype(np.float32)


def _is_number(text: str) -> bool:
    return _parse(pa.chunked_array([pa.array([text])])) is not None


def _codes(values: pa.ChunkedArray, categories: tuple[str, ...]) -> np.ndarray:
    known = pa.array(categories, pa.large_string())
    codes = pc.index_in(_strings(values), value_set=known).cast(pa.float32())
    # A null in the value set does not occur, so a null code means: missing, or never seen in training.
    return np.asarray(codes.fill_null(np.nan).to_numpy(), dtype=np.float32)
