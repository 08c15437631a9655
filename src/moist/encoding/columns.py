"""The columns of a table, and its rows as numbers and category codes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from moist.errors import UserError, nearest

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MISSING", "Column", "TableColumns", "listed_columns", "missing_column"]

MISSING = ("", "?", "na", "n/a", "nan", "null")
COLUMNS_SHOWN = 12
# Python's float() would also take 1_000 and the digits of other scripts, which no file reader does.
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?inf(inity)?", re.IGNORECASE)
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Column:
    """One column of a table; ``categories`` in the order of their codes, empty for a numeric column."""

    name: str
    kind: Literal["numeric", "categorical"]
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table, in order."""

    columns: tuple[Column, ...]

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return rows as raw inputs; a column that the rows have beside these is passed over.

        Args:
            rows: N mappings from a column's name to its value. None, NaN, an empty string and the usual marks ("?",
                "NA") are a missing value; numbers may be written as strings.

        Returns:
            (N, F) float32: numbers and category codes; NaN where a value is missing or a category is unknown.

        Raises:
            UserError: a column is missing, or a numeric column holds something else.
        """
        raw = np.empty((len(rows), len(self.columns)), dtype=np.float32)
        codes: list[dict[str | None, int]] = [
            {name: code for code, name in enumerate(column.categories)} for column in self.columns
        ]
        for number, row in enumerate(rows):
            for i, column in enumerate(self.columns):
                if column.name not in row:
                    raise missing_column(column.name, list(row), f"row {number + 1}")
                value = row[column.name]
                if column.kind == "numeric":
                    raw[number, i] = _number(value, column.name, number + 1)
                else:
                    raw[number, i] = codes[i].get(_category(value), np.nan)
        return raw

    def to_dict(self) -> dict[str, Any]:
        """Return the columns as JSON-like values."""
        columns = [{"name": c.name, "kind": c.kind, "categories": list(c.categories)} for c in self.columns]
        return {"kind": "tabular", "columns": columns}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the columns that ``to_dict`` wrote."""
        return cls(tuple(Column(c["name"], c["kind"], tuple(c["categories"])) for c in values["columns"]))


def _codes(column: Column) -> dict[str | None, int]:
    return {name: code for code, name in enumerate(column.categories)}


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return value is None or (isinstance(value, (float, np.floating)) and math.isnan(value))


def _number(value: Any, column: str, row: int) -> float:
    if _is_missing(value):
        return math.nan
    readable = isinstance(value, (int, float, np.integer, np.floating, np.bool_))
    if not readable and not (isinstance(value, str) and NUMBER.fullmatch(value.strip())):
        raise UserError(
            f"column {column!r} must hold numbers, as it did in training; row {row} holds {value!r}; mend the row or "
            "leave the value empty"
        )
    try:
        number = float(value)
    except OverflowError:  # of a whole number with hundreds of digits
        number = math.inf
    if abs(number) > LARGEST:
        raise UserError(
            f"numbers must be finite and fit in 32 bits; column {column!r} holds {value} in row {row}; mend the row or "
            "leave the value empty"
        )
    return number


def _category(value: Any) -> str | None:
    """Return the name of a category as a file would hold it, or None where it is missing."""
    if _is_missing(value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        # A whole number that passed through a float column keeps its name: 3, not 3.0.
        return str(int(value))
    return str(value).strip()


def missing_column(name: str, columns: Sequence[str], origin: str) -> UserError:
    """Return the error for a column that is not there; it names the nearest one and lists the first."""
    hint = nearest(name, columns) if columns else ""
    close = "" if hint.startswith("Known") else f"{hint} "
    return UserError(
        f"{origin} must have a column {name!r}, which it lacks. {close}Columns: {listed_columns(columns) or 'none'}."
    )


def listed_columns(names: Sequence[str]) -> str:
    """Return the names with commas between them, a long list cut short."""
    more = f" and {len(names) - COLUMNS_SHOWN} more" if len(names) > COLUMNS_SHOWN else ""
    return ", ".join(names[:COLUMNS_SHOWN]) + more
