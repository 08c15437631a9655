"""The jobs of the study: fit one system on one fold, score it, and time it."""

from __future__ import annotations

import os
import pickle
import shutil
import statistics
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from moist.evaluation import evaluate
from moist.progress import Advance
from moist.recipes.classic.systems import BUILDERS, DESLIB, TEACHER, build_distilled
from moist.recipes.classic.tables import Fold, load_fold
from moist.storage import read_json
from moist.types import UserError

__all__ = ["DESLIB_PYTHON", "measure_deslib", "measure_distilled", "measure_system"]

Payload = dict[str, Any]
DESLIB_PYTHON = "MOIST_DESLIB_PYTHON"  # interpreter of an environment with DESlib; not part of a job's payload
LARGE_BATCH = 10_000
TIMED_FOLD = 0


def measure_system(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Fit and measure one of scikit-learn's own estimators, or one of ours that needs no teacher.

    The payload names ``data``, ``system``, ``seed``, ``fold``, ``folds`` and ``max_rows``. The boosting is kept for its
    student.
    """
    del advance
    fold = _fold(payload)
    model = BUILDERS[payload["system"]](payload["seed"])
    with threadpool_limits(1):
        result = _fit_and_score(model, fold, timed=payload["fold"] == TIMED_FOLD)
    if payload["system"] == TEACHER:
        joblib.dump(model, folder / "model.joblib")
    return {**result, "bytes": len(pickle.dumps(model))}


def _fit_and_score(model: Any, fold: Fold, *, timed: bool) -> dict[str, Any]:
    with warnings.catch_warnings():
        # How long to fit is each estimator's default; stopping there is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        started = time.perf_counter()
        model.fit(fold.train, fold.train_target)
        seconds = time.perf_counter() - started
    result = {**score(model.predict_proba(fold.test), model.classes_, fold), "fit_seconds": seconds}
    return {**result, **time_prediction(model, fold)} if timed else result


def measure_distilled(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Distil the boosting that was fitted on the same fold, and time both in turns.

    The payload is as in :func:`measure_system`. The time of the fit does not hold the teacher's own.
    """
    del advance
    fold = _fold(payload)
    teacher = joblib.load(folder.parent / TEACHER / "model.joblib")
    model = build_distilled(teacher, payload["seed"])
    timed = payload["fold"] == TIMED_FOLD
    with threadpool_limits(1):
        result = _fit_and_score(model, fold, timed=timed)
        if timed:
            result |= {f"teacher_{name}": value for name, value in time_prediction(teacher, fold).items()}
    return {**result, "macs": model.cost_, "bytes": len(pickle.dumps(model.mixture_))}


def measure_deslib(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Fit and measure DESlib's selections on all folds of a seed, in the environment that the variable names.

    The payload names ``data``, ``seed``, ``folds`` and ``max_rows``.

    Returns:
        For each selection, a list of the folds' results.
    """
    del advance
    cuts = [_fold({**payload, "fold": fold}) for fold in range(payload["folds"])]
    for number, fold in enumerate(cuts):
        tiled = tile(fold.test) if number == TIMED_FOLD else fold.test[:0]
        np.savez(
            folder / f"fold-{number}.npz",
            train=fold.train,
            train_target=fold.train_target,
            test=fold.test,
            tiled=tiled,
        )
    program = Path(__file__).with_name("deslib_program.py")
    _run([deslib_python(), str(program), str(folder), str(payload["seed"])])
    results = {name: [_answer(folder / f"{name}-{n}", fold) for n, fold in enumerate(cuts)] for name in DESLIB}
    for path in folder.glob("*.npz"):
        path.unlink()
    return results


def _answer(stem: Path, fold: Fold) -> dict[str, Any]:
    answer = np.load(stem.with_suffix(".npz"))
    return {**score(answer["probabilities"], answer["classes"], fold), **read_json(stem.with_suffix(".json"))}


def deslib_python() -> str:
    """Return the interpreter that has DESlib.

    Raises:
        UserError: none is named, or it is not there.
    """
    named = os.environ.get(DESLIB_PYTHON, "")
    found = shutil.which(named) if named else None
    if found is None:
        raise UserError(
            f"DESlib runs in an environment of its own: {DESLIB_PYTHON} must name its interpreter, got {named!r}; make "
            "one with python3 -m venv DIR && DIR/bin/pip install deslib 'scikit-learn<1.6'"
        )
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")


def _fold(payload: Payload) -> Fold:
    return load_fold(*(payload[key] for key in ("data", "seed", "fold", "folds", "max_rows")))


def score(probabilities: np.ndarray, classes: np.ndarray, fold: Fold) -> dict[str, float]:
    """Score probabilities (N, P) of the ``classes`` that a system has seen: accuracy, log loss, calibration error."""
    whole = np.zeros((len(probabilities), fold.num_classes))
    whole[:, np.asarray(classes, dtype=np.int64)] = probabilities
    found = evaluate(whole, fold.test_target)
    return {"accuracy": found.accuracy, "nll": found.nll, "ece": found.ece}


def tile(rows: np.ndarray) -> np.ndarray:
    """Return a large batch made of the rows, over and over."""
    return np.resize(rows, (LARGE_BATCH, rows.shape[1]))


def time_prediction(model: Any, fold: Fold) -> dict[str, float]:
    """Time ``predict_proba`` on one row and on a large batch of a model, on one thread."""
    batch = tile(fold.test)
    model.predict_proba(batch[:1])
    return {
        "batch_1_ms": 1e3 * statistics.median(_seconds(model, batch[:1]) for _ in range(30)),
        "batch_10000_ms": 1e3 * min(_seconds(model, batch) for _ in range(2)),
    }


def _seconds(model: Any, rows: np.ndarray) -> float:
    started = time.perf_counter()
    model.predict_proba(rows)
    return time.perf_counter() - started
