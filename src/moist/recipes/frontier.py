"""Frontiers: mixtures of growing size beside single students of growing cost, on one data set."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from moist.config import Settings, load_config
from moist.evaluation import count_cost, evaluate, interpolate_macs_at_accuracy
from moist.experiments import RECIPES
from moist.recipes.configs import shipped_configs
from moist.recipes.measure import Measured, System, measure
from moist.recipes.plan import Plan, make_plan
from moist.recipes.reproduce import reproduce
from moist.recipes.results import spread
from moist.recipes.settings import DistillSettings
from moist.recipes.study import StudyRequest, study_document
from moist.recipes.workspace import Workspace, prepare
from moist.storage import read_json
from moist.students import create_student
from moist.training import Job, run_jobs

__all__ = ["GROWTH", "run_frontier"]

GROWTH = (2, 4, 8, 16, 32)
# In what the mixtures of growing size differ from the recipe's own, by recipe.
OWN: Mapping[str, Mapping[str, str]] = {
    # Many specialists need more balance: at 0.1, 4 of 96 were never chosen; at 0.2 all are, at the same accuracy.
    "letter": {"joint.balance": "0.2"},
    # Small enough a student for specialists to have something to add, of which there are many and no early exit: they
    # branch from the finished student, the same one for every number of them.
    "cifar10": {
        "student": "{family: resnet, width: 8, stem_stride: 2}",
        "mixture.exit": "null",
        "mixture.trunk_stages": "3",
        "mixture.shared_start": "0.8572",
        "mixture.restart": "0.5",
        "mixture.least_share": "0.5",
        "joint.balance": "0.3",
        "training.epochs": "35",
        # AdamW's steps are as long for a specialist that few inputs teach as for any other; SGD's are not.
        "training.optimizer": "adamw",
        "training.learning_rate": "0.02",
        "training.weight_decay": "0",
    },
}


@dataclass(frozen=True)
class _Point:
    """One number of domains: what was planned for each seed."""

    num_domains: int
    space: Workspace
    plans: Mapping[int, tuple[Plan, Path]]


def run_frontier(request: StudyRequest) -> dict[str, Any]:
    """Train the mixture of the recipe that the study is named after with 2 to 32 domains.

    Specialists keep their size and every mixture its epochs and balance, so that only the number of domains changes.
    Where specialists branch from a finished student, it is one for all mixtures of a seed. Teacher, single students and
    controls are those of the recipe's own result file; where there is none, the recipe is run.

    Args:
        request: named ``frontier-RECIPE``.
    """
    recipe = request.name.removesuffix("-small").removeprefix("frontier-")
    document = dict(_recipe_document(recipe, request))
    trial = RECIPES[recipe].small if request.budget == "small" else ()
    overrides = [*trial, *request.overrides]
    points = [_plan(recipe, number, overrides, request) for number in GROWTH]
    results = run_jobs(_jobs(points), points[0].space.settings.jobs, quiet=request.quiet)
    mixtures = [_entry(point, document["frontier"]) for point in points]
    derived = {**document["derived"], **_growth(mixtures)}
    return {
        **study_document(
            request,
            data=document["data"],
            teacher=document["teacher"],
            systems=document["systems"],
            frontier=document["frontier"],
            derived=derived,
            notes=[*_other_settings(recipe, overrides), *_epochs(recipe, overrides), *document["notes"]],
            seconds=sum(result.seconds for result in results.values()),
            verdict=_verdict(mixtures, derived),
        ),
        "mixtures": mixtures,
        **_start(points[0]),
    }


def _recipe_document(recipe: str, request: StudyRequest) -> Mapping[str, Any]:
    trial = request.budget == "small"
    path = request.results_dir / f"{recipe}{'-small' if trial else ''}.json"
    if path.exists():
        found: dict[str, Any] = read_json(path)
        return found
    return reproduce(
        recipe,
        budget=request.budget,
        seeds=request.seeds,
        results_dir=request.results_dir,
        runs_dir=request.out.parent,
        overrides=request.overrides,
        quiet=request.quiet,
    )


def _settings(recipe: str, overrides: Sequence[str]) -> DistillSettings:
    return load_config(DistillSettings, shipped_configs()[recipe], overrides)


def _own(recipe: str) -> list[str]:
    return [f"{name}={value}" for name, value in OWN.get(recipe, {}).items()]


def _other_settings(recipe: str, overrides: Sequence[str]) -> list[str]:
    """Say in what, beside the number of domains, the mixtures differ from the recipe's own; nothing if in nothing."""
    ours, theirs = _settings(recipe, [*_own(recipe), *overrides]), _settings(recipe, overrides)
    pairs = [(name, _value(ours, name), _value(theirs, name)) for name in OWN.get(recipe, {})]
    differ = [pair for pair in pairs if pair[1] != pair[2]]
    if not differ:
        return []
    return [
        f"The mixtures of {GROWTH[0]} to {GROWTH[-1]} specialists are trained with "
        f"{', '.join(f'{name}={value}' for name, value, _ in differ)}; the recipe {recipe}, whose systems stand beside "
        f"them, trains its own mixture with {', '.join(f'{name}={value}' for name, _, value in differ)}."
    ]


def _epochs(recipe: str, overrides: Sequence[str]) -> list[str]:
    """Say for how long mixtures that branch from a finished student were trained, and the single students beside."""
    settings = _settings(recipe, [*_own(recipe), *overrides])
    epochs = settings.training.epochs
    shared = settings.mixture.shared_epochs(epochs)
    if settings.mixture.restart is None or not shared:
        return []
    return [
        f"They had {shared} epochs as one student and {epochs - shared} as specialists, the single students beside "
        f"them up to {settings.controls.max_epochs}: what can be read is how accuracy changes with the number of "
        "specialists, not how it stands to the line."
    ]


def _value(settings: DistillSettings, name: str) -> str:
    """Return the setting of a dotted name as it would be written; of a group, what is not its default."""
    value: Any = reduce(getattr, name.split("."), settings)
    if isinstance(value, Settings):
        group = value.model_dump(mode="json", exclude_defaults=True)
        return "{" + ", ".join(f"{key}: {inner}" for key, inner in group.items()) + "}"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _plan(recipe: str, num_domains: int, overrides: Sequence[str], request: StudyRequest) -> _Point:
    settings = _settings(recipe, [*_own(recipe), *overrides, f"mixture.num_domains={num_domains}"])
    folder, space = prepare(settings, quiet=request.quiet)
    plans = {}
    for seed in range(request.seeds):
        out = request.out / f"K{num_domains}" / f"seed-{seed}"
        plan = make_plan(space, folder, out, seed, request.out / "starts")
        plans[seed] = plan.restricted_to(("mixture",)), out
    return _Point(num_domains, space, plans)


def _jobs(points: Sequence[_Point]) -> list[Job]:
    """Return the jobs of all plans under names of their own; a student that several plans start from is there once."""
    jobs: dict[Path, Job] = {}
    for point in points:
        for seed, (plan, _) in point.plans.items():
            names = {job.name: _name(point, seed, job) for job in plan.jobs}
            for job in plan.jobs:
                after = tuple(names[name] for name in job.after)
                jobs[job.folder] = replace(job, name=names[job.name], after=after)
    return list(jobs.values())


def _name(point: _Point, seed: int, job: Job) -> str:
    return f"seed-{seed}/start" if job.name == "start" else f"K{point.num_domains}/seed-{seed}/{job.name}"


def _entry(point: _Point, frontier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return accuracy with its spread, cost, the smallest share of the inputs, and the cost ratio of one point."""
    test = point.space.splits.test
    runs: list[Measured] = [measure(point.space, plan, out / "jobs") for plan, out in point.plans.values()]
    mixtures: list[System] = [run.systems["mixture"] for run in runs]
    entries = [mixture.entry(None if test is None else test.target) for mixture in mixtures]
    accuracy = spread([entry["accuracy"] for entry in entries])
    macs = statistics.fmean(entry["active_macs"] for entry in entries)
    singles = [(single["active_macs"], single["accuracy"]["mean"]) for single in frontier]
    equal = interpolate_macs_at_accuracy(singles, accuracy["mean"])
    if equal is not None and accuracy["mean"] < min(value for _, value in singles):
        equal = None  # a smaller single student would do, and how small was not measured
    return {
        "name": f"mixture of {point.num_domains}",
        "num_domains": point.num_domains,
        "accuracy": accuracy,
        "active_macs": macs,
        "active_params": entries[0]["active_params"],
        "total_params": entries[0]["total_params"],
        "bytes": entries[0]["bytes"],
        "smallest_share": [min(run.routing["load"]) for run in runs],
        "dead": sum(len(run.routing["dead"]) for run in runs),
        "cost_ratio_at_equal_accuracy": None if equal is None else equal / macs,
    }


def _start(point: _Point) -> dict[str, Any]:
    """Return the entry of the finished student that all specialists branch from, if they do."""
    folders = [job.folder for plan, _ in point.plans.values() for job in plan.jobs if job.name == "start"]
    test = point.space.splits.test
    if not folders or test is None or test.target is None:
        return {}
    outputs = [load_file(folder / "test.safetensors")["logits"].softmax(dim=1).numpy() for folder in folders]
    settings = point.space.settings
    student = create_student(settings.student, point.space.transform.input_shape, point.space.num_classes)
    cost = count_cost(student, point.space.example(64))
    return {
        "start": {
            "name": "the finished student that they branch from",
            "epochs": settings.mixture.shared_epochs(settings.training.epochs),
            "accuracy": spread([evaluate(probabilities, test.target).accuracy for probabilities in outputs]),
            "active_macs": cost.macs,
            "total_params": cost.params,
        }
    }


def _growth(mixtures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say whether accuracy ever falls as the number of domains grows, and by how much at most."""
    means = [mixture["accuracy"]["mean"] for mixture in mixtures]
    falls = [max(0.0, before - after) for before, after in pairwise(means)]
    return {"largest_fall_with_growth": max(falls), "dead_in_growth": sum(mixture["dead"] for mixture in mixtures)}


def _verdict(mixtures: Sequence[Mapping[str, Any]], derived: Mapping[str, Any]) -> str:
    first, last = mixtures[0], mixtures[-1]
    fall = 100 * derived["largest_fall_with_growth"]
    grows = (
        "never falls as domains are added" if fall == 0 else f"falls by {fall:.1f} points at most as domains are added"
    )
    return (
        f"From {first['num_domains']} to {last['num_domains']} specialists accuracy goes from "
        f"{first['accuracy']['mean']:.1%} to {last['accuracy']['mean']:.1%} and {grows}; "
        f"{derived['dead_in_growth']} specialists serve less than a quarter of an equal share."
    )
