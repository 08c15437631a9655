"""From a CSV file to a mixture, in Python: what ``moist distill`` does, for a table of your own.

The rows are real: 569 biopsies that come with scikit-learn. It writes into the working folder: python own_table.py
"""

import csv
import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer

import moist
from moist.config import load_config
from moist.data import read_inputs
from moist.recipes import DistillSettings, distill, format_table

CONFIG = {
    "name": "cells",
    "data": {"kind": "tabular", "path": "cells.csv", "label_column": "diagnosis"},
    "teacher": {
        "kind": "sklearn",
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "params": {"n_estimators": 300},
    },
    "student": {"family": "mlp", "width": 2},
    "mixture": {"num_domains": 4},
    "training": {"epochs": 60, "batch_size": 32, "learning_rate": 0.01},
    "controls": {"max_epochs": 120, "frontier": [0.5, 2]},
}


def write_csv(path: Path) -> None:
    """Write the rows, their classes by name, as your own file would have them."""
    cells = load_breast_cancer()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*cells.feature_names, "diagnosis"])
        writer.writerows([*row, cells.target_names[code]] for row, code in zip(cells.data, cells.target))


def main(overrides: list[str]) -> None:
    """Distil, print the comparison, and use the result; ``overrides`` are settings such as training.epochs=5."""
    write_csv(Path("cells.csv"))
    metrics = distill(load_config(DistillSettings, CONFIG, overrides), Path("runs/cells"))
    print(format_table(metrics))
    print(metrics["verdict"])

    mixture = moist.load_bundle("runs/cells/bundle")
    rows = read_inputs(["cells.csv"], mixture.schema)
    print("the first three rows are", *mixture.predict(rows[:3]))


# Training runs in processes of its own, which import this file: so the work stands behind this line.
if __name__ == "__main__":
    main(sys.argv[1:])
