"""Rows of tables as standardised numbers and category codes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from torch import Tensor

from moist.data.schema import TableSchema, schema_from_dict
from moist.data.shape import InputShape

__all__ = ["TableTransform", "fit_table_transform"]


@dataclass(frozen=True)
class TableTransform:
    """Standardised numbers, then a mark for each missing number, then category codes.

    A missing number becomes the mean (0 once standardised). Columns that lacked numbers in training have a mark:
    1 where the number is missing, else 0. Category codes start at 1; 0 is a missing or unknown category.

    Args:
        schema: the columns.
        mean: of each numeric column.
        std: of each numeric column.
        marked: positions, among the numeric columns, of those with a mark.
    """

    schema: TableSchema
    mean: tuple[float, ...]
    std: tuple[float, ...]
    marked: tuple[int, ...]
    kind: Literal["tabular"] = "tabular"

    @property
    def input_shape(self) -> InputShape:
        """Return the shape of one encoded row."""
        categories = tuple(len(c.categories) + 1 for c in self.schema.columns if c.kind == "categorical")
        return InputShape("tabular", (len(self.mean) + len(self.marked) + len(categories),), categories)

    def encode(self, raw: np.ndarray) -> np.ndarray:
        """Return float32 (N, D) of raw rows, float32 (N, F)."""
        numeric, categorical, mean, std = self._arrays
        numbers = raw[:, numeric] if categorical else raw
        standard = (numbers - mean) / std
        missing = np.isnan(numbers)
        if missing.any():
            standard[missing] = 0.0
        if not self.marked and not categorical:
            standardised: np.ndarray = standard.astype(np.float32)
            return standardised
        marks = missing[:, list(self.marked)]
        codes = np.nan_to_num(raw[:, categorical] + 1, nan=0.0)
        return np.concatenate([standard, marks, codes], axis=1, dtype=np.float32)

    @cached_property
    def _arrays(self) -> tuple[list[int], list[int], np.ndarray, np.ndarray]:
        """Return the positions of numbers and categories, and statistics as arrays: for one row, making them counts."""
        return *_positions(self.schema), np.array(self.mean), np.array(self.std)

    def to_tensor(self, encoded: Tensor) -> Tensor:
        """Return a batch of encoded rows as it is."""
        return encoded

    def to_dict(self) -> dict[str, Any]:
        """Return the transform as JSON-like values."""
        return {
            "kind": self.kind,
            "schema": self.schema.to_dict(),
            "mean": list(self.mean),
            "std": list(self.std),
            "marked": list(self.marked),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TableTransform:
        """Return the transform that ``to_dict`` wrote."""
        schema = schema_from_dict(values["schema"])
        if not isinstance(schema, TableSchema):
            raise TypeError(f"a table transform needs a table schema, got {schema}")
        return cls(schema, tuple(values["mean"]), tuple(values["std"]), tuple(values["marked"]))


def fit_table_transform(raw: np.ndarray, schema: TableSchema) -> TableTransform:
    """Return the transform with the statistics of the training rows ``raw``, float32 (N, F)."""
    numeric, _ = _positions(schema)
    numbers = raw[:, numeric].astype(np.float64)
    missing = np.isnan(numbers)
    present = np.maximum((~missing).sum(axis=0), 1)
    mean = np.where(missing, 0.0, numbers).sum(axis=0) / present
    variance = (np.where(missing, 0.0, numbers - mean) ** 2).sum(axis=0) / present
    # A constant column has rounding dust for a variance; dividing by it would blow up the first new value.
    constant = np.sqrt(variance) <= 1e-9 * np.maximum(np.abs(mean), 1e-30)
    std = np.where(constant, 1.0, np.sqrt(variance))
    marked = np.flatnonzero(missing.any(axis=0))
    return TableTransform(schema, tuple(mean.tolist()), tuple(std.tolist()), tuple(marked.tolist()))


def _positions(schema: TableSchema) -> tuple[list[int], list[int]]:
    numeric = [i for i, column in enumerate(schema.columns) if column.kind == "numeric"]
    categorical = [i for i, column in enumerate(schema.columns) if column.kind == "categorical"]
    return numeric, categorical
