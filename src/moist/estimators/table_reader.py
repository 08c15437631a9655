"""What a distilled mixture reads: arrays of numbers, and data frames with categories among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import validate_data

from moist.data import Column, TableSchema
from moist.data.schema import fit_table_schema
from moist.types import UserError

__all__ = ["TableReader", "fit_reader"]

PLAIN = (np.float32, np.float64)
LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True)
class TableReader:
    """Turns what a user gives into raw rows, float32 (N, F): numbers and category codes, NaN = missing.

    Args:
        schema: the columns.
        framed: whether training rows came as a data frame with columns that are no numbers.
        allow_nan: whether missing numbers are let through.
    """

    schema: TableSchema
    framed: bool
    allow_nan: bool

    def read(self, estimator: Any, X: Any) -> np.ndarray:
        """Return new rows for a fitted estimator; names and number of columns must be those of training."""
        if self.framed:
            validate_data(estimator, X, reset=False, skip_check_array=True)
            return self.schema.encode_frame(_table(X), "X")
        if self._is_plain(estimator, X):
            return np.asarray(X, dtype=np.float32)
        finite = "allow-nan" if self.allow_nan else True
        rows: np.ndarray = validate_data(estimator, X, dtype=np.float32, ensure_all_finite=finite, reset=False)
        return rows

    def _is_plain(self, estimator: Any, X: Any) -> bool:
        """Tell, at a glance, whether an array would pass all checks, which take longer than a row's answer."""
        return (
            type(X) is np.ndarray
            and X.dtype in PLAIN
            and X.ndim == 2
            and len(X) > 0
            and X.shape[1] == len(self.schema.columns)
            and not hasattr(estimator, "feature_names_in_")
            and bool(np.abs(X).max() < LARGEST)
        )


def fit_reader(estimator: Any, X: Any, y: Any, *, allow_nan: bool) -> tuple[TableReader, np.ndarray, np.ndarray]:
    """Check training rows and labels, and return the reader, the raw rows and the labels."""
    if _has_words(X):
        X, y = validate_data(estimator, X, y, skip_check_array=True)
        labels = np.asarray(y)
        if len(labels) != len(X):
            raise UserError(f"X and y must have equally many rows, got {len(X)} and {len(labels)}; mend either")
        table = _table(X)
        schema = fit_table_schema(table, "X")
        return TableReader(schema, True, allow_nan), schema.encode_frame(table, "X"), labels
    finite = "allow-nan" if allow_nan else True
    rows, labels = validate_data(estimator, X, y, dtype=np.float32, ensure_all_finite=finite)
    names = getattr(estimator, "feature_names_in_", [f"x{i}" for i in range(rows.shape[1])])
    schema = TableSchema(tuple(Column(str(name), "numeric") for name in names))
    return TableReader(schema, False, allow_nan), rows, labels


def _has_words(X: Any) -> bool:
    """Tell whether ``X`` is a data frame with a column that is no numbers."""
    kinds = getattr(X, "dtypes", None)
    if not hasattr(X, "columns") or kinds is None:
        return False
    return any(getattr(kind, "kind", "O") not in "iuf" for kind in kinds)


def _table(X: Any) -> pa.Table:
    try:
        return pa.Table.from_pandas(X, preserve_index=False)
    except (AttributeError, TypeError, pa.ArrowInvalid) as error:
        raise UserError(f"a data frame of pandas is needed where columns hold words, got another ({error})") from error
