"""The tables of the study: their rows, the folds, and the features that every system reads alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.model_selection import StratifiedKFold, train_test_split

from moist.data import Column, DataSettings, TableSchema, load_dataset
from moist.storage import default_cache_dir
from moist.teachers.preprocessing import preprocessor

__all__ = ["TABLES", "Fold", "load_fold"]

CARRIED: dict[str, Callable[[], Any]] = {
    "digits": load_digits,
    "breast_cancer": load_breast_cancer,
    "wine": load_wine,
    "iris": load_iris,
}
# Small ones first: a run that is cut short has then measured as many whole data sets as it could.
TABLES = (
    *("iris", "wine", "breast_cancer", "digits"),
    *("optdigits", "satimage", "pendigits", "dry_bean", "magic", "letter", "covtype20k", "adult"),
)


@dataclass(frozen=True)
class Fold:
    """One fold of one table, features prepared on its training rows alone.

    Args:
        train: (N, D) float64.
        train_target: (N,) class numbers.
        test: (M, D) float64.
        test_target: (M,).
        num_classes: C.
    """

    train: np.ndarray
    train_target: np.ndarray
    test: np.ndarray
    test_target: np.ndarray
    num_classes: int


def load_fold(name: str, seed: int, fold: int, folds: int, max_rows: int | None = None) -> Fold:
    """Return a fold of a table: numbers imputed and standardised, categories one-hot, as every system reads them.

    Args:
        name: one of ``TABLES``.
        seed: of the stratified cut into folds.
        fold: which one is held out, from 0.
        folds: how many there are.
        max_rows: draw so many rows first, by the seed, every class in its share; None for all.
    """
    rows, target, schema = _read(name)
    if max_rows is not None and max_rows < len(rows):
        _, drawn = train_test_split(np.arange(len(rows)), test_size=max_rows, stratify=target, random_state=seed)
        rows, target = rows[drawn], target[drawn]
    cuts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, target)
    train, test = list(cuts)[fold]
    prepare = preprocessor(schema).fit(rows[train])
    features = [np.asarray(prepare.transform(rows[part]), dtype=np.float64) for part in (train, test)]
    return Fold(features[0], target[train], features[1], target[test], int(target.max()) + 1)


def _read(name: str) -> tuple[np.ndarray, np.ndarray, TableSchema]:
    """Return all rows of a table, whichever parts its files have, with class numbers and columns."""
    if name in CARRIED:
        bunch = CARRIED[name]()
        columns = tuple(Column(str(column), "numeric") for column in bunch.feature_names)
        return bunch.data.astype(np.float32), bunch.target, TableSchema(columns)
    splits = load_dataset(DataSettings(name=name), default_cache_dir(), quiet=True)
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    schema = splits.train.schema
    assert isinstance(schema, TableSchema)
    targets = [part.target for part in parts if part.target is not None]
    return np.concatenate([part.inputs for part in parts]), np.concatenate(targets), schema
