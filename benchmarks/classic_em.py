"""Time the EM of mixtures of experts: 100,000 rows of 50 inputs, 8 experts, two threads, and smaller tables beside it.

Measured, at the default tolerance and limit of iterations: wall clock and CPU time of a fit, and its iterations.
Computed: the exponent of growth, the slope of log seconds per iteration over log rows; 1 is linear.

    python benchmarks/classic_em.py
"""

from __future__ import annotations

import datetime
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from moist.estimators import MixtureOfExpertsClassifier, MixtureOfExpertsRegressor
from moist.recipes.results import machine
from moist.storage import write_json

PROJECT = Path(__file__).resolve().parents[1]
TARGET = PROJECT / "results" / "bench-classic-em.json"
THREADS = 2  # as ``n_jobs``
ROWS = (25_000, 50_000, 100_000)
NUM_FEATURES, NUM_EXPERTS, SEED = 50, 8, 0
BAR_SECONDS = 60.0
ESTIMATORS = {"classifier": MixtureOfExpertsClassifier, "regressor": MixtureOfExpertsRegressor}


def main() -> None:
    """Measure, compute, print and write the result file."""
    started = time.perf_counter()
    rows, sides, values = make_table(max(ROWS))
    measured: dict[str, list[dict[str, Any]]] = {}
    for kind, target in (("classifier", sides), ("regressor", values)):
        measured[kind] = [time_fit(kind, rows[:count], target[:count]) for count in ROWS]
    document = result(measured, time.perf_counter() - started)
    write_json(TARGET, document)
    print(summary(document))


def make_table(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw rows, binary labels and values from a mixture of eight experts behind a softmax gate."""
    random = np.random.default_rng(SEED)
    rows = random.normal(size=(count, NUM_FEATURES))
    gate, expert = (random.normal(size=(NUM_FEATURES, NUM_EXPERTS)) for _ in range(2))
    chosen = (rows @ gate + random.gumbel(size=(count, NUM_EXPERTS))).argmax(axis=1)
    score = (rows @ expert)[np.arange(count), chosen]
    return rows, (score + random.logistic(size=count) > 0).astype(int), score + random.normal(size=count)


def time_fit(kind: str, rows: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    """Fit once and return the times."""
    mixture = ESTIMATORS[kind](NUM_EXPERTS, n_jobs=THREADS, random_state=SEED)
    wall, cpu = time.perf_counter(), time.process_time()
    with threadpool_limits(THREADS):
        mixture.fit(rows, target)
    found = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    print(kind, len(rows), {name: round(value, 1) for name, value in found.items()}, mixture.n_iter_, flush=True)
    return {
        "rows": len(rows),
        **{name: float(f"{value:.4g}") for name, value in found.items()},
        "iterations": mixture.n_iter_,
        "converged": mixture.converged_,
        "falls": int((np.diff(mixture.lower_bounds_) < -1e-10).sum()),
    }


def exponent(fits: list[dict[str, Any]], clock: str) -> float:
    """Return the slope of log seconds per iteration over log rows."""
    sizes = np.log([fit["rows"] for fit in fits])
    each = np.log([fit[clock] / fit["iterations"] for fit in fits])
    return float(np.polyfit(sizes, each, 1)[0])


def result(measured: dict[str, list[dict[str, Any]]], seconds: float) -> dict[str, Any]:
    """Put measured and computed numbers into one document."""
    return {
        "schema": 1,
        "name": "bench-classic-em",
        "command": "python benchmarks/classic_em.py",
        "date": datetime.date.today().isoformat(),
        "data": {"name": "drawn from a mixture of 8 experts", "features": NUM_FEATURES, "rows": list(ROWS)},
        "versions": {"moist": version("moist"), "python": platform.python_version(), "numpy": np.__version__},
        "machine": {**machine(), "threads": THREADS, "load": [round(x, 1) for x in os.getloadavg()]},
        "seconds": round(seconds, 1),
        "systems": {},  # no accuracy is measured here: the table of results passes over this file
        "settings": {"num_experts": NUM_EXPERTS, "seed": SEED, "bar_seconds": BAR_SECONDS},
        "measured": measured,
        "computed": {
            kind: {
                "seconds_100000": fits[-1]["seconds"],
                "cpu_seconds_100000": fits[-1]["cpu_seconds"],
                "growth_exponent": exponent(fits, "seconds"),
                "growth_exponent_cpu": exponent(fits, "cpu_seconds"),
            }
            for kind, fits in measured.items()
        },
        "notes": [
            "Other processes may have used the cores meanwhile (see machine.load): then the wall clock says more of "
            "them than of EM. CPU seconds are its own.",
        ],
    }


def summary(document: dict[str, Any]) -> str:
    """Return the result as lines for the terminal."""
    return "\n".join(
        f"{kind}: {found['seconds_100000']:.1f} s ({found['cpu_seconds_100000']:.1f} CPU s) at 100,000 rows; seconds "
        f"per iteration grow as rows to the {found['growth_exponent_cpu']:.2f}"
        for kind, found in document["computed"].items()
    )


if __name__ == "__main__":
    main()
