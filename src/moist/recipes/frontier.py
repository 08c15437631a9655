"""Frontiers: mixtures of growing size beside single students of growing cost, on one data set."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from moist.config import load_config
from moist.evaluation import interpolate_macs_at_accuracy
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
from moist.training import run_jobs

__all__ = ["GROWTH", "run_frontier"]

GROWTH = (2, 4, 8, 16, 32)
# Many specialists need more balance: at 0.1, 4 of 96 were never chosen; at 0.2 all are, at the same accuracy.
BALANCE = "joint.balance=0.2"


@dataclass(frozen=True)
class _Point:
    """One number of domains: what was planned for each seed."""

    num_domains: int
    space: Workspace
    plans: Mapping[int, tuple[Plan, Path]]


def run_frontier(request: StudyRequest) -> dict[str, Any]:
    """Train the mixture of the recipe that the study is named after with 2 to 32 domains.

    Specialists keep their size and every mixture its epochs and balance, so that only the number of domains changes.
    Teacher, single students and controls are those of the recipe's own result file; where there is none, the recipe is
    run.

    Args:
        request: named ``frontier-RECIPE``.
    """
    recipe = request.name.removesuffix("-small").removeprefix("frontier-")
    document = dict(_recipe_document(recipe, request))
    trial = RECIPES[recipe].small if request.budget == "small" else ()
    overrides = [*trial, *request.overrides]
    points = [_plan(recipe, number, overrides, request) for number in GROWTH]
    jobs = [
        replace(job, name=f"K{point.num_domains}/seed-{seed}/{job.name}")
        for point in points
        for seed, (plan, _) in point.plans.items()
        for job in plan.jobs
    ]
    results = run_jobs(jobs, points[0].space.settings.jobs, quiet=request.quiet)
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
            notes=[*_other_settings(recipe, overrides), *document["notes"]],
            seconds=sum(result.seconds for result in results.values()),
            verdict=_verdict(mixtures, derived),
        ),
        "mixtures": mixtures,
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


def _other_settings(recipe: str, overrides: Sequence[str]) -> list[str]:
    """Say in what, beside the number of domains, the mixtures differ from the recipe's own; nothing if in nothing."""
    ours, theirs = _settings(recipe, [BALANCE, *overrides]).joint.balance, _settings(recipe, overrides).joint.balance
    if ours == theirs:
        return []
    return [
        f"The mixtures of {GROWTH[0]} to {GROWTH[-1]} specialists are trained with joint.balance={ours:g}; the recipe "
        f"{recipe}, whose systems stand beside them, trains its own mixture with {theirs:g}."
    ]


def _plan(recipe: str, num_domains: int, overrides: Sequence[str], request: StudyRequest) -> _Point:
    settings = _settings(recipe, [BALANCE, *overrides, f"mixture.num_domains={num_domains}"])
    folder, space = prepare(settings, quiet=request.quiet)
    plans = {}
    for seed in range(request.seeds):
        out = request.out / f"K{num_domains}" / f"seed-{seed}"
        plans[seed] = make_plan(space, folder, out, seed).restricted_to(("mixture",)), out
    return _Point(num_domains, space, plans)


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
