"""Fit and time DESlib's dynamic selections: a program of its own, for DESlib needs an older scikit-learn.

    python deslib_program.py FOLDER SEED

For each ``fold-N.npz`` in FOLDER (train, train_target, test, tiled) it leaves ``METHOD-N.npz`` (probabilities, classes)
and ``METHOD-N.json`` (times and size). It imports nothing of this package: it runs in another environment.
"""

from __future__ import annotations

import json
import pickle
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from deslib.des.knora_e import KNORAE
from deslib.des.meta_des import METADES
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import train_test_split

__all__ = ["main"]

METHODS = {"knora_e": KNORAE, "meta_des": METADES}
POOL_SIZE = 100  # bagged trees, as in DESlib's own examples


def main(folder: Path, seed: int) -> None:
    """Measure both selections on every fold in ``folder``."""
    for path in sorted(folder.glob("fold-*.npz")):
        measure(np.load(path), folder, path.stem.removeprefix("fold-"), seed)


def measure(fold: Any, folder: Path, number: str, seed: int) -> None:
    """Fit, predict, time, and leave the answers.

    The trees are bagged on one half of the rows, the selections learn on the other, as DESlib's documentation says;
    both share the trees, and each one's time has theirs in it.
    """
    pool_rows, own_rows, pool_target, own_target = train_test_split(
        fold["train"], fold["train_target"], test_size=0.5, stratify=fold["train_target"], random_state=seed
    )
    started = time.perf_counter()
    pool = BaggingClassifier(n_estimators=POOL_SIZE, random_state=seed, n_jobs=1).fit(pool_rows, pool_target)
    bagging = time.perf_counter() - started
    for name, method in METHODS.items():
        started = time.perf_counter()
        model = method(pool, random_state=seed, n_jobs=1).fit(own_rows, own_target)
        times: dict[str, Any] = {"fit_seconds": bagging + time.perf_counter() - started}
        times["bytes"] = len(pickle.dumps(model))
        if len(fold["tiled"]):
            times["batch_1_ms"] = 1e3 * statistics.median(seconds(model, fold["tiled"][:1]) for _ in range(10))
            times["batch_10000_ms"] = 1e3 * seconds(model, fold["tiled"])
        np.savez(
            folder / f"{name}-{number}.npz", probabilities=model.predict_proba(fold["test"]), classes=model.classes_
        )
        (folder / f"{name}-{number}.json").write_text(json.dumps(times))


def seconds(model: Any, rows: Any) -> float:
    """Return the seconds of one call."""
    started = time.perf_counter()
    model.predict_proba(rows)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
