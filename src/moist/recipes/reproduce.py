"""Experiments by name: several seeds of one configuration, put together in ``results/NAME.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from moist.config import ConfigError, dump_config, load_config, nearest
from moist.experiments import RECIPES, STUDIES, Recipe, experiments
from moist.importing import import_callable
from moist.recipes.budget import check_budget, choose_shape
from moist.recipes.configs import shipped_configs
from moist.recipes.describe import describe
from moist.recipes.distill import finish_seed, total_seconds
from moist.recipes.plan import Plan, make_plan
from moist.recipes.results import result_document
from moist.recipes.settings import DistillSettings
from moist.recipes.study import Budget, StudyRequest
from moist.recipes.workspace import prepare
from moist.report import write_report
from moist.storage import only_one, write_json
from moist.training import Job, run_jobs

__all__ = ["reproduce"]


def reproduce(
    name: str,
    *,
    budget: Budget = "full",
    seeds: int | None = None,
    results_dir: Path = Path("results"),
    runs_dir: Path = Path("runs"),
    overrides: Iterable[str] = (),
    quiet: bool = False,
) -> Mapping[str, Any]:
    """Run an experiment for several seeds and write ``results_dir/NAME.json`` (``NAME-small.json`` on a small budget).

    The jobs of all seeds share the machine's cores. An interrupted call goes on where it stopped.

    Args:
        name: which; see :func:`moist.experiments.experiments`.
        budget: ``small`` is a trial of the machinery in minutes, whose numbers mean nothing.
        seeds: how many, from 0; None takes the experiment's own number, 3 for most.
        results_dir: where the result file goes.
        runs_dir: where jobs, bundles and reports go.
        overrides: ``a.b=c`` changes of the configuration.
        quiet: show no progress.

    Raises:
        ConfigError: there is no such experiment, or an override is wrong.
    """
    if name not in experiments():
        raise ConfigError(f"there is no experiment {name!r}. {nearest(name, experiments())}")
    if seeds is None:
        seeds = STUDIES[name].seeds if name in STUDIES else 3
    if seeds < 1:
        raise ConfigError(f"seeds must be at least 1, got {seeds}")
    full_name = f"{name}-small" if budget == "small" else name
    command = " ".join(["moist reproduce", name, f"--budget {budget} --seeds {seeds}", *_shown(overrides)])
    out = runs_dir / full_name
    request = StudyRequest(full_name, command, budget, seeds, out, results_dir, tuple(overrides), quiet)
    with only_one(request.out):
        document: dict[str, Any]
        if name in STUDIES:
            document = import_callable(STUDIES[name].run, "STUDIES")(request)
        else:
            document = _reproduce(RECIPES[name], request)
    write_json(results_dir / f"{full_name}.json", document)
    return document


def _reproduce(recipe: Recipe, request: StudyRequest) -> dict[str, Any]:
    trial = recipe.small if request.budget == "small" else ()
    settings = load_config(DistillSettings, shipped_configs()[recipe.config], [*trial, *request.overrides])
    folder, space = prepare(settings, check=check_budget, quiet=request.quiet)
    name, every_seed, seeds, out = request.name, recipe.every_seed, request.seeds, request.out
    space, search = choose_shape(space, folder, out, quiet=request.quiet)
    settings = space.settings
    plans = {seed: make_plan(space, folder, out / f"seed-{seed}", seed) for seed in range(seeds)}
    plans = {seed: plan if seed == 0 else _only(plan, every_seed) for seed, plan in plans.items()}
    results = run_jobs(_renamed(plans, every_seed), settings.jobs, quiet=request.quiet)
    measured = {seed: finish_seed(space, plan, out / f"seed-{seed}") for seed, plan in plans.items()}
    document = result_document(name, request.command, space, measured, total_seconds(results), search)
    dump_config(settings, out / "config.yaml")
    write_report(document, describe(space, measured[0], document["verdict"]), out / "report.html")
    return document


def _shown(overrides: Iterable[str]) -> list[str]:
    """Return the overrides that the result depends on; how many workers ran it is no part of it."""
    return [f"--set {override}" for override in overrides if not override.startswith("jobs.")]


def _only(plan: Plan, systems: tuple[str, ...]) -> Plan:
    """Return the part of a plan that trains the given systems; the whole of it where none is named."""
    return plan.restricted_to(systems) if systems else plan


def _renamed(plans: Mapping[int, Plan], first: tuple[str, ...]) -> list[Job]:
    """Return the jobs of all seeds under names of their own, those of the systems ``first`` and of seed 0 in front."""
    jobs = []
    for seed, plan in plans.items():
        for job in plan.jobs:
            after = tuple(f"seed-{seed}/{name}" for name in job.after)
            renamed = replace(job, name=f"seed-{seed}/{job.name}", after=after)
            jobs.append((job.name not in plan.restricted_to(first).names, seed, renamed))
    return [job for _, _, job in sorted(jobs, key=lambda item: item[:2])]
