"""Time the chain of K specialists with the teacher's signals cached once per view, against the teacher run live.

Measured, in one process on one thread: a training step of every kind that the plan of ``eight.yaml`` holds,
once with the cached teacher and once with the live one, in turns; and the filling of the cache, per example. Computed:
hours of a whole plan, from those times and the plan's numbers of steps. Nothing is trained to the end.

    python benchmarks/teacher_cache.py
"""

from __future__ import annotations

import datetime
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import numpy as np
import torch
from measuring import spread
from torch import nn

from moist.config import load_config
from moist.data import Loader
from moist.mixture import MixtureSettings, build_gate
from moist.recipes import DistillSettings
from moist.recipes.domains import make_partition
from moist.recipes.plan import Plan, make_plan
from moist.recipes.results import machine
from moist.recipes.train import _compile, _freeze_trunk, _FrozenTrunkTask, _TrunkThenGate, new_mixture
from moist.recipes.workspace import Workspace, prepare
from moist.storage import write_json
from moist.students import Student, StudentSettings, create_student
from moist.tasks import DistillTask, JointTask, RouterTask
from moist.teachers import OnlineTeacher, Teacher, cache_teacher, load_teacher
from moist.training import fit

PROJECT = Path(__file__).resolve().parents[1]
TARGET = PROJECT / "results" / "bench-teacher-cache.json"
SEED = 0
ROUNDS = 5
STEPS = 2  # of each kind, with each teacher, in every round
CACHED_ROWS = 256  # rows of the cache that each round fills
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}

Seconds = dict[str, float]  # by clock


@dataclass(frozen=True)
class Kind:
    """One kind of training step: the task, its batches, and the part of the task that asks the teacher."""

    task: nn.Module
    loader: Loader
    asks: nn.Module


@dataclass(frozen=True)
class Scope:
    """A part of a plan: steps of each kind, and how often the teacher must speak of every training example.

    ``cached_views`` is what the cache holds, the plain view included; ``live_views`` is what the same work asks of a
    live teacher beside the training steps: the plain view, by which domains are cut where the teacher confuses classes.
    """

    what: str
    steps: dict[str, int]
    cached_views: int
    live_views: int


def main() -> None:
    """Measure, compute, print and write the result file."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    settings = load_config(DistillSettings, PROJECT / "benchmarks" / "eight.yaml")
    folder, space = prepare(settings)
    apart = replace(space, settings=with_class_domains(settings))
    scopes, kinds = plan_scopes(space, apart, folder), build_kinds(space, apart, folder)
    rounds = measure(space, load_teacher(settings.teacher, space.splits, quiet=True), kinds)
    document = result(space, scopes, rounds, time.perf_counter() - started)
    write_json(TARGET, document)
    print(summary(document))


def with_class_domains(settings: DistillSettings) -> DistillSettings:
    """Return the settings with specialists trained apart, each on its own classes."""
    mixture = settings.mixture.model_copy(update={"method": "class-domains", "active": None})
    return settings.model_copy(update={"mixture": mixture})


def plan_scopes(space: Workspace, apart: Workspace, folder: Path) -> dict[str, Scope]:
    """Return what is compared: the chain alone, the chain with its controls, and the whole run of the settings."""
    chain, shipped = (make_plan(each, folder, folder, SEED) for each in (apart, space))
    alone = chain.restricted_to(("generalist", "mixture"))
    views = space.views + 1
    num_domains = apart.settings.mixture.num_domains
    return {
        "chain": Scope(
            f"generalist, {num_domains} specialists of class domains, gate", steps_of(alone, apart), views, 1
        ),
        "chain_with_controls": Scope(
            "the chain, single students of other sizes, and a mixture of random domains",
            steps_of(chain, apart),
            views,
            1,
        ),
        "recipe": Scope(
            "a jointly trained mixture, single students, mixtures of class and random domains",
            *(steps_of(shipped, space), views, 1),
        ),
    }


def steps_of(plan: Plan, space: Workspace) -> dict[str, int]:
    """Return the number of training steps of each kind in a plan."""
    steps: dict[str, int] = {}
    partitions: dict[str, np.ndarray] = {}
    batch_size, num_rows = space.settings.training.batch_size, len(space.splits.train)
    for job in plan.jobs:
        function, epochs = job.function.rpartition(":")[2], job.payload["epochs"]
        per_epoch = num_rows // batch_size
        mixture = load_config(MixtureSettings, job.payload.get("mixture", {}))
        if function == "train_student":
            counts = {job.name: epochs * per_epoch}
        elif function == "train_joint":
            shared = round(mixture.shared_start * epochs)
            counts = {"generalist": shared * per_epoch, "joint": (epochs - shared) * per_epoch}
        elif function == "train_gate":
            counts = {f"gate of {mixture.method}": epochs * per_epoch}
        else:
            if mixture.method not in partitions:
                partitions[mixture.method] = make_partition(space, mixture, SEED).assignment
            rows = int((partitions[mixture.method] == job.payload["domain"]).sum() / max(1 - mixture.outside, 1e-9))
            counts = {"specialist": epochs * max(1, rows // batch_size)}
        for kind, count in counts.items():
            steps[kind] = steps.get(kind, 0) + count
    return steps


def build_kinds(space: Workspace, apart: Workspace, folder: Path) -> dict[str, Kind]:
    """Build a task of each kind just as the recipe's jobs do, compiled where they compile."""
    torch.manual_seed(SEED)
    settings, signals = space.settings, space.signals()
    loader = space.loader(SEED, settings.training.batch_size)
    kinds = {}
    for job in make_plan(space, folder, folder, SEED).jobs:
        if "student" in job.payload:
            student = new_student(space, load_config(StudentSettings, job.payload["student"]))
            _compile(space, student)
            task = DistillTask(student, signals, settings.loss)
            kinds[job.name] = Kind(task, loader, task)

    cut = settings.mixture.trunk_stages
    specialist = new_student(space, settings.student)
    _freeze_trunk(specialist, cut)
    inner = DistillTask(specialist, signals, settings.loss)
    domains = make_partition(apart, apart.settings.mixture, SEED)
    own = np.flatnonzero(domains.assignment == 0)
    own_loader = space.loader(SEED, settings.training.batch_size, own)
    kinds["specialist"] = Kind(_FrozenTrunkTask(specialist, cut, inner), own_loader, inner)

    for method in ("class-domains", "random"):
        mixture = settings.mixture.model_copy(update={"method": method})
        trunk = nn.Sequential(*new_student(space, settings.student).stages[:cut]).requires_grad_(False)
        with torch.no_grad():
            features = trunk.eval()(space.example())
        gate = build_gate(mixture.router, space.transform.input_shape, mixture.num_domains, features)
        router = RouterTask(_TrunkThenGate(trunk, gate), make_partition(apart, mixture, SEED), signals)
        kinds[f"gate of {method}"] = Kind(router, loader, router)

    whole = new_mixture(space, settings.mixture, new_student(space, settings.student))
    _compile(space, whole.trunk, *([] if settings.mixture.active else [whole.specialists]))
    joint = JointTask(whole, signals, settings.loss, settings.joint, settings.mixture.active)
    kinds["joint"] = Kind(joint, loader, joint)
    return kinds


def new_student(space: Workspace, settings: StudentSettings) -> Student:
    """Return an untrained student for the workspace's data."""
    return create_student(settings, space.transform.input_shape, space.num_classes)


Round = dict[str, dict[str, Seconds]]  # kind, or "fill" per example; then "cached" or "live"


def measure(space: Workspace, teacher: Teacher, kinds: Mapping[str, Kind]) -> list[Round]:
    """Time every kind with either teacher in turns, round after round, after one round that is not kept."""
    train = space.splits.train
    ways = {"cached": space.signals(), "live": OnlineTeacher(teacher, train, space.settings.augment)}
    rows = train.take(np.arange(CACHED_ROWS))
    rounds = []
    for _ in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory() as cache:
            before = read_clocks()
            cache_teacher(teacher, rows, [1], cache_dir=Path(cache), augment=space.settings.augment, quiet=True)
            taken: Round = {"fill": {"cached": {name: s / CACHED_ROWS for name, s in since(before).items()}}}
        for name, kind in kinds.items():
            taken[name] = {}
            for way, signals in ways.items():
                kind.asks.signals = signals  # type: ignore[assignment]
                taken[name][way] = time_steps(space, kind)
        rounds.append(taken)
    return rounds[1:]


def time_steps(space: Workspace, kind: Kind) -> Seconds:
    """Return the mean time of a few steps of the fit loop: batch, augmentation, forward, backward, update."""
    marks: list[Seconds] = []
    # The loop tells of its start, and of every step.
    fit(
        kind.task,
        kind.loader,
        space.settings.training,
        seed=SEED,
        max_steps=STEPS,
        advance=lambda *_, **__: marks.append(read_clocks()),
    )
    return {name: (marks[-1][name] - marks[0][name]) / STEPS for name in CLOCKS}


def read_clocks() -> Seconds:
    """Return what each clock shows."""
    return {name: clock() for name, clock in CLOCKS.items()}


def since(before: Seconds) -> Seconds:
    """Return the time gone by on each clock."""
    return {name: value - before[name] for name, value in read_clocks().items()}


def hours(scope: Scope, taken: Round, way: str, clock: str, num_rows: int) -> float:
    """Compute the hours of a scope from the times of one round."""
    views = scope.cached_views if way == "cached" else scope.live_views
    seconds = views * num_rows * taken["fill"]["cached"][clock]
    return (seconds + sum(count * taken[kind][way][clock] for kind, count in scope.steps.items())) / 3600


def result(space: Workspace, scopes: Mapping[str, Scope], rounds: Sequence[Round], seconds: float) -> dict[str, Any]:
    """Put measured and computed numbers into one document."""
    training = space.settings.training
    measured = {
        "teacher_ms_per_example": spread([1000 * taken["fill"]["cached"]["wall"] for taken in rounds]),
        "step_ms": {
            kind: {way: spread([1000 * taken[kind][way]["wall"] for taken in rounds]) for way in ("cached", "live")}
            for kind in rounds[0]
            if kind != "fill"
        },
    }
    return {
        "schema": 1,
        "name": "bench-teacher-cache",
        "command": "python benchmarks/teacher_cache.py",
        "date": datetime.date.today().isoformat(),
        "data": {"name": space.splits.train.name, "train": len(space.splits.train), "views": space.views},
        "teacher": {**space.teacher, "precision": space.settings.teacher.precision},
        "versions": {"moist": version("moist"), "python": platform.python_version(), "torch": torch.__version__},
        "machine": {**machine(), "threads": torch.get_num_threads(), "load": [round(x, 1) for x in os.getloadavg()]},
        "seconds": round(seconds, 1),
        "systems": {},  # no accuracy is measured here: the table of results passes over this file
        "settings": {
            "seed": SEED,
            "rounds": ROUNDS,
            "steps_per_round": STEPS,
            "batch_size": training.batch_size,
            "precision": training.precision,
            "compile": training.compile,
        },
        "measured": measured,
        "computed": {name: compute(scope, rounds, len(space.splits.train)) for name, scope in scopes.items()},
        "notes": [
            "Measured: times of single training steps and of filling the cache. Computed: hours and ratios, from each "
            "round's times and the plan's numbers of steps, of one seed on one thread; no plan was run to its end.",
            "Other processes may have used the cores meanwhile: read the ratios, not the hours. ratio_cpu is the same "
            "from the process's own CPU time.",
            "Compilation, evaluation and signals of the validation and test parts are left out; they are the same on "
            "both sides. Where domains are cut by the teacher's confusions, its plain view is counted on both sides.",
        ],
    }


def compute(scope: Scope, rounds: Sequence[Round], num_rows: int) -> dict[str, Any]:
    """Compute hours and ratio of one scope for every round."""
    each = {
        (way, clock): [hours(scope, taken, way, clock, num_rows) for taken in rounds]
        for way in ("cached", "live")
        for clock in CLOCKS
    }
    ratios = {clock: [b / a for a, b in zip(each["cached", clock], each["live", clock])] for clock in CLOCKS}
    return {
        "what": scope.what,
        "steps": scope.steps,
        "cached_views": scope.cached_views,
        "live_views": scope.live_views,
        "hours_cached": spread(each["cached", "wall"]),
        "hours_live": spread(each["live", "wall"]),
        "ratio": spread(ratios["wall"]),
        "ratio_cpu": spread(ratios["cpu"]),
    }


def summary(document: Mapping[str, Any]) -> str:
    """Return the result as lines for the terminal."""
    measured = document["measured"]
    lines = [f"teacher, filling the cache: {measured['teacher_ms_per_example']['median']} ms per example"]
    for kind, ways in measured["step_ms"].items():
        cached, live = ways["cached"]["median"], ways["live"]["median"]
        lines.append(f"step of {kind:22s} cached {cached:7.1f} ms   live {live:7.1f} ms")
    for name, scope in document["computed"].items():
        ratio, cpu = scope["ratio"], scope["ratio_cpu"]
        lines.append(
            f"{name}: {scope['hours_cached']['median']:.2f} h cached, {scope['hours_live']['median']:.2f} h live: "
            f"{ratio['median']:.1f} times ({ratio['min']:.1f} to {ratio['max']:.1f}; by CPU time {cpu['median']:.1f})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
