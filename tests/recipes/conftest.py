"""Small runs of the main job on real data that comes with scikit-learn."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer

from moist.config import load_config
from moist.recipes import DistillSettings

FOREST = {
    "kind": "sklearn",
    "estimator": "sklearn.ensemble.ExtraTreesClassifier",
    "params": {"n_estimators": 40, "min_samples_leaf": 2},
}
QUICK = {
    "training": {"epochs": 3, "batch_size": 64, "learning_rate": 0.01},
    "controls": {"max_epochs": 4, "frontier": [0.5, 2.0]},
    "jobs": {"workers": 2},
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOIST_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def digits() -> Callable[..., DistillSettings]:
    """Settings of a quick run on the digits; keyword arguments replace whole groups."""

    def make(**changes: Any) -> DistillSettings:
        values: dict[str, Any] = {
            "name": "digits-quick",
            "data": {"name": "digits", "limit": 400},
            "teacher": FOREST,
            "student": {"family": "mlp", "width": 6},
            "mixture": {"num_domains": 3},
            **QUICK,
        }
        return load_config(DistillSettings, {**values, **changes})

    return make


@pytest.fixture
def table_csv(tmp_path: Path) -> Path:
    """Real measurements of tumours, with a column of text and some missing values, as a user's CSV file."""
    data = load_breast_cancer()
    path = tmp_path / "tumours.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(name.replace(" ", "_") for name in data.feature_names[:6]), "size", "diagnosis"])
        for number, (row, target) in enumerate(zip(data.data, data.target)):
            size = "" if number % 17 == 0 else ("large" if row[0] > 14 else "small")
            values = ["?" if number % 23 == 5 and column == 2 else value for column, value in enumerate(row[:6])]
            writer.writerow([*values, size, data.target_names[target]])
    return path
