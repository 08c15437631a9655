"""Fit a data set to what a bundle reads: classes by name, columns and categories by name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from moist.data import Column, IndexedDataset, Schema, TableSchema
from moist.types import UserError

__all__ = ["match_inputs", "match_target"]

SHOWN = 20


def match_target(dataset: IndexedDataset, classes: tuple[str, ...]) -> np.ndarray:
    """Return the (N,) labels numbered as the bundle's classes.

    Raises:
        UserError: there are no labels, or classes that the bundle does not know.
    """
    if dataset.target is None:
        raise UserError(
            f"evaluation needs labels, {dataset.name} ({dataset.split}) has none; use moist predict, or add a "
            "column of labels"
        )
    number = {name: code for code, name in enumerate(classes)}
    unknown = [name for name in dataset.classes if name not in number]
    if unknown:
        raise UserError(
            f"the classes of the data must be among the bundle's, by name; {_listed(unknown)} of {dataset.name} are "
            f"not: the data has {_listed(dataset.classes)}, the bundle {_listed(classes)}; rename the labels"
        )
    numbers: np.ndarray = np.array([number[name] for name in dataset.classes], dtype=np.int64)[dataset.target]
    return numbers


def match_inputs(dataset: IndexedDataset, schema: Schema) -> np.ndarray:
    """Return the raw inputs as the bundle reads them.

    Raises:
        UserError: they are of another kind or size, or lack a column.
    """
    own = dataset.schema
    if own == schema:
        return dataset.inputs
    if isinstance(own, TableSchema) and isinstance(schema, TableSchema):
        table = {column.name: _values(dataset.inputs[:, i], column) for i, column in enumerate(own.columns)}
        return schema.encode_frame(table, dataset.name)
    if own.to_dict()["kind"] != schema.to_dict()["kind"] or dataset.kind == "vision":
        raise UserError(
            f"the data must look like what the bundle reads, {_described(schema)}; {dataset.name} has "
            f"{_described(own)}; choose other data"
        )
    return dataset.inputs


def _values(raw: np.ndarray, column: Column) -> list[Any]:
    """Return one column as a file would hold it: its categories by name, for their codes may differ."""
    if column.kind == "numeric":
        return [None if np.isnan(value) else float(value) for value in raw]
    return [None if np.isnan(code) else column.categories[int(code)] for code in raw]


def _described(schema: Schema) -> str:
    values = schema.to_dict()
    return json.dumps(values) if values["kind"] == "vision" else str(values["kind"])


def _listed(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"[{', '.join(names[:SHOWN])}{more}]"
