"""Time the jobs of a run: 16 specialists on 1, 2 and 4 workers, what a job costs beyond its work, and a forecast.

The specialists are those of the ``letter`` recipe on a random partition, so that all are equally long; they are trained
by local processes and by Ray, in turns. Simulated from the cost of a job on Ray: 1,000 specialists on 100 nodes that
run one each.

    python benchmarks/scale_out.py
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import heapq
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
os.environ["RAY_ADDRESS"] = "local"  # a Ray of its own

from measuring import spread

from moist.config import load_config
from moist.progress import say
from moist.recipes import DistillSettings
from moist.recipes.configs import shipped_configs
from moist.recipes.plan import make_plan
from moist.recipes.results import machine
from moist.recipes.workspace import prepare
from moist.storage import write_json
from moist.training import Job, JobsSettings, run_jobs

PROJECT = Path(__file__).resolve().parents[1]
TARGET = PROJECT / "results" / "bench-scale-out.json"
SPECIALISTS, SEED = 16, 0
SETTINGS = (
    "mixture.method=random",
    f"mixture.num_domains={SPECIALISTS}",
    "student.width=64",
    "training.epochs=200",
    "controls.enabled=false",
)
WORKERS = (1, 2, 4)
BACKENDS = ("local", "ray")
BAR = 0.85
NODES, MANY = 100, 1000
LENGTHS = {"1 minute": 60.0, "10 minutes": 600.0, "1 hour": 3600.0}


@dataclass(frozen=True)
class Timed:
    """All specialists once: by the wall clock, by their own clocks, and a checksum of their weights."""

    wall: float
    own: float
    weights: str


def main() -> None:
    """Measure, simulate, print and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of every backend and number of workers")
    arguments = parser.parse_args()
    started, load = time.perf_counter(), os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(specialists(Path(folder) / "run"), Path(folder), arguments.rounds)
    document = result(found, load, time.perf_counter() - started)
    write_json(TARGET, document)
    print(summary(document))


def specialists(folder: Path) -> list[Job]:
    """Train what the specialists start from, and return their jobs."""
    settings = load_config(DistillSettings, shipped_configs()["letter"], SETTINGS)
    workspace, space = prepare(settings, quiet=True)
    plan = make_plan(space, workspace, folder, SEED)
    run_jobs([job for job in plan.jobs if not job.after], JobsSettings(), quiet=True)
    return [replace(job, after=()) for job in plan.jobs if "/specialist-" in job.name]


def measure(jobs: Sequence[Job], folder: Path, rounds: int) -> dict[tuple[str, int], list[Timed]]:
    """Time the jobs in every way, in turns, so that a busy machine slows all alike."""
    for backend in BACKENDS:  # processes that start others, libraries loaded
        run(jobs[: max(WORKERS)], JobsSettings(backend=backend, workers=max(WORKERS)), folder)
    found: dict[tuple[str, int], list[Timed]] = {}
    for number in range(rounds):
        for backend in BACKENDS:
            for workers in WORKERS:
                timed = run(jobs, JobsSettings(backend=backend, workers=workers), folder)
                found.setdefault((backend, workers), []).append(timed)
                say(f"round {number + 1}: {backend}, {workers} workers: {timed.wall:.1f} s")
    return found


def run(jobs: Sequence[Job], settings: JobsSettings, folder: Path) -> Timed:
    """Run the jobs in a folder that is empty."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        moved = [replace(job, folder=Path(place) / job.name) for job in jobs]
        started = time.perf_counter()
        results = run_jobs(moved, settings, quiet=True)
        wall = time.perf_counter() - started
        digest = hashlib.sha256()
        for job in moved:
            digest.update((job.folder / "model.safetensors").read_bytes())
    return Timed(wall, sum(each.seconds for each in results.values()), digest.hexdigest())


def makespan(job_seconds: float, overhead: float) -> float:
    """Return the seconds until the last of all jobs ends.

    The overhead is read pessimistically: all of it is spent in the one driver, job after job.
    """
    free = [0.0] * NODES
    driver = 0.0
    for _ in range(MANY):
        driver = max(driver, heapq.heappop(free)) + overhead
        heapq.heappush(free, driver + job_seconds)
    return max(free)


def simulate(overhead: float) -> dict[str, Any]:
    """Return hours and efficiency of many specialists on many nodes, by the length of one."""
    table = {}
    for name, seconds in LENGTHS.items():
        wall = makespan(seconds, overhead)
        table[name] = {"hours": round(wall / 3600, 3), "efficiency": round(MANY * seconds / (NODES * wall), 4)}
    return {"specialists": MANY, "nodes": NODES, "overhead_seconds": overhead, "by_length": table}


def result(found: dict[tuple[str, int], list[Timed]], load: Sequence[float], seconds: float) -> dict[str, Any]:
    """Put measured and simulated numbers into one document."""
    derived: dict[str, Any] = {}
    for backend in BACKENDS:
        alone = found[backend, 1]
        derived[f"overhead_seconds_per_job/{backend}"] = spread([(t.wall - t.own) / SPECIALISTS for t in alone])
        for workers in WORKERS[1:]:
            pairs = zip(alone, found[backend, workers])
            derived[f"efficiency/{backend}/{workers}"] = spread([a.wall / (workers * b.wall) for a, b in pairs])
            busy = [t.own / (workers * t.wall) for t in found[backend, workers]]
            derived[f"busy/{backend}/{workers}"] = spread(busy)
    every = {timed.weights for runs in found.values() for timed in runs}
    return {
        "schema": 1,
        "name": "bench-scale-out",
        "command": "python benchmarks/scale_out.py",
        "date": datetime.date.today().isoformat(),
        "versions": {**{n: version(n) for n in ("moist", "torch", "ray")}, "python": platform.python_version()},
        "machine": {**machine(), "load": [round(x, 1) for x in load]},
        "seconds": round(seconds, 1),
        "systems": {},  # no accuracy is measured here: the table of results passes over this file
        "settings": {"specialists": SPECIALISTS, "overrides": list(SETTINGS), "rounds": len(found["local", 1])},
        "measured": {
            f"{backend}/{workers}": {
                "wall_seconds": spread([t.wall for t in runs]),
                "own_seconds": spread([t.own for t in runs]),
            }
            for (backend, workers), runs in found.items()
        },
        "same_weights_everywhere": len(every) == 1,
        "derived": derived,
        "simulated": simulate(derived["overhead_seconds_per_job/ray"]["median"]),
        "notes": [
            "Efficiency: the wall clock of one worker over that of n, divided by n. The workers share one machine's "
            "caches and memory, which makes each job longer: own_seconds is the sum of the jobs' own clocks. Busy: "
            "that sum over n times the wall clock, the share of the workers' time that jobs have.",
            "Overhead: wall clock with one worker, less the jobs' own clocks, for each job.",
            "Simulated: nodes of one worker each, started by one driver, in which all overhead is spent.",
        ],
    }


def summary(document: dict[str, Any]) -> str:
    """Return the result as lines for the terminal."""
    lines = [f"{name}: {found['median']:.3g}" for name, found in document["derived"].items()]
    return "\n".join([*lines, f"the same weights everywhere: {document['same_weights_everywhere']}"])


if __name__ == "__main__":
    main()
