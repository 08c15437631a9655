"""Deferring: the mixture first, larger models for what it is not sure of, the teacher last, for a part of its cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from moist.config import load_config
from moist.data import IndexedDataset
from moist.evaluation import Chain, ChainAnswers, Link, evaluate, fit_chain
from moist.experiments import RECIPES
from moist.recipes.configs import shipped_configs
from moist.recipes.measure import System, measure
from moist.recipes.plan import Plan, make_plan
from moist.recipes.results import spread
from moist.recipes.settings import DistillSettings
from moist.recipes.study import StudyRequest, study_document
from moist.recipes.workspace import SPLITS, Workspace, prepare
from moist.storage import default_cache_dir
from moist.teachers import TeacherSettings, cache_teacher, load_teacher
from moist.training import run_jobs
from moist.types import UserError

__all__ = ["SHARE_OF_TEACHER", "run_deferring"]

SHARE_OF_TEACHER = 0.2
MARGIN = 0.98  # of the budget, for which shares are chosen: of other inputs more may go on
FOLDS = 2
TRAINED = ("mixture", "student_same_cost", "generalist")
# A public network between the students and the teacher, of the same family and source as the teacher.
BETWEEN: Mapping[str, Mapping[str, Any]] = {
    "cifar10": {
        "name": "ResNet-20",
        "kwargs": {"depth": 20, "num_classes": 10},
        "checkpoint": "teachers/resnet20-12fca82f.th",
    }
}


def run_deferring(request: StudyRequest) -> dict[str, Any]:
    """Measure chains of models that may spend a fifth of the teacher's cost on average.

    The recipe that the study is named after is trained as far as needed: the mixture, the single student of its cost
    and the generalist. A public teacher has been trained on the validation part too, where it hardly errs, so links,
    thresholds and weights are chosen on one half of the test part and measured on the other, each half in turn. Beside
    the chain that starts with the mixture stand the one without a second teacher, one that starts with the single
    student instead, and cascades of a single student and the teacher.

    Args:
        request: named ``deferring-RECIPE``.

    Raises:
        UserError: the teacher's cost cannot be counted.
    """
    recipe = request.name.removesuffix("-small").removeprefix("deferring-")
    trial = RECIPES[recipe].small if request.budget == "small" else ()
    settings = load_config(DistillSettings, shipped_configs()[recipe], [*trial, *request.overrides])
    folder, space = prepare(settings, quiet=request.quiet)
    if space.teacher["macs"] is None:
        raise UserError(
            f"a teacher to which inputs are deferred at a cost must be made of matrix products, got "
            f"{space.teacher['name']}, whose multiply-accumulates cannot be counted; take another teacher"
        )
    runs = request.out.parent / f"{recipe}{'-small' if trial else ''}"
    plans = {seed: make_plan(space, folder, runs / f"seed-{seed}", seed) for seed in range(request.seeds)}
    plans = {seed: plan.restricted_to(TRAINED) for seed, plan in plans.items()}
    results = {seed: run_jobs(plan.jobs, settings.jobs, quiet=request.quiet) for seed, plan in plans.items()}
    second = _second_teacher(space, recipe, request.quiet)
    seeds = [_links(space, plan, runs / f"seed-{seed}" / "jobs", second) for seed, plan in plans.items()]
    target, budget = _target(_test(space)), SHARE_OF_TEACHER * space.teacher["macs"]
    chains = {
        "cascade_of_student": ("student_same_cost", "teacher"),
        "cascade_of_generalist": ("generalist", "teacher"),
        "chain_of_students": ("mixture", "generalist", "teacher"),
        "chain": ("mixture", "generalist", *([] if second is None else [second.name]), "teacher"),
    }
    if second is not None:
        chains["chain_from_student"] = ("student_same_cost", "generalist", second.name, "teacher")
    systems = {name: _alone([links[name] for links in seeds], target) for name in ("teacher", "mixture")}
    systems |= {name: _chain(seeds, names, target, budget) for name, names in chains.items()}
    return study_document(
        request,
        data={
            "name": space.splits.train.name,
            **{split: len(part) for split in SPLITS if (part := space.part(split)) is not None},
            "classes": space.num_classes,
        },
        teacher=space.teacher,
        systems=systems,
        derived=_derived(systems, budget),
        notes=[
            "A public teacher has seen the validation part in its own training, so links, thresholds and weights are "
            "chosen on one half of the test part and measured on the other, each half in turn.",
            *([] if second is None else [f"{second.name} is a second public teacher, which a chain may ask first."]),
        ],
        seconds=sum(result.seconds for found in results.values() for result in found.values()),
        verdict=_verdict(systems, budget),
    )


def _second_teacher(space: Workspace, recipe: str, quiet: bool) -> Link | None:
    """Return the network between students and teacher, None where there is none."""
    if recipe not in BETWEEN:
        return None
    values = {**space.settings.teacher.model_dump(exclude_defaults=True), **BETWEEN[recipe]}
    teacher = load_teacher(TeacherSettings.model_validate(values), space.splits, quiet=quiet)
    macs = teacher.macs(space.splits.train.inputs[:1])
    assert macs is not None
    test = _test(space)
    cache = cache_teacher(teacher, test, [0], cache_dir=default_cache_dir(), quiet=quiet)
    rows = np.arange(len(test))
    logits = torch.from_numpy(cache.logits(rows, np.zeros_like(rows)))
    return Link(teacher.name, macs, logits.softmax(dim=1).numpy())


def _links(space: Workspace, plan: Plan, jobs: Path, second: Link | None) -> dict[str, Link]:
    """Return what every model of one seed says of the test part, by name."""
    systems = measure(space, plan, jobs).systems
    found = {name: _link(name, systems[name]) for name in (*TRAINED, "teacher")}
    return found if second is None else {**found, second.name: second}


def _link(name: str, system: System) -> Link:
    assert system.probabilities is not None
    assert system.macs is not None
    return Link(name, system.macs, system.probabilities)


def _chain(
    seeds: Sequence[Mapping[str, Link]], names: Sequence[str], target: np.ndarray, budget: float
) -> dict[str, Any]:
    """Fit a chain on each fold of the test part for every seed, and measure it on the rest."""
    probabilities, macs, links = [], [], []
    fold_N = np.arange(len(target)) % FOLDS
    for seed in seeds:
        answer_NC = np.empty_like(seed[names[0]].probabilities)
        for fold in range(FOLDS):
            kept, rest = ([seed[name].take(rows) for name in names] for rows in (fold_N == fold, fold_N != fold))
            chain = fit_chain(kept, target[fold_N == fold], MARGIN * budget)
            answer = chain.answer(rest)
            answer_NC[fold_N != fold] = answer.probabilities
            macs.append(answer.macs)
            links.append(_settings(chain, answer))
        probabilities.append(answer_NC)
    return {**_entry(probabilities, target), "active_macs": fmean(macs), "links": links}


def _settings(chain: Chain, answer: ChainAnswers) -> list[dict[str, Any]]:
    """Return each link's share of the inputs, and what brings an input there and weighs its answer."""
    values = zip(chain.names, answer.shares, (None, *chain.thresholds), (None, *chain.weights), strict=True)
    return [
        {"name": name, "share": share, "threshold": threshold, "weight": weight}
        for name, share, threshold, weight in values
    ]


def _alone(links: Sequence[Link], target: np.ndarray) -> dict[str, Any]:
    entry = _entry([link.probabilities for link in links], target)
    return {**entry, "active_macs": fmean(link.macs for link in links)}


def _entry(probabilities: Sequence[np.ndarray], target: np.ndarray) -> dict[str, Any]:
    return {"accuracy": spread([evaluate(answer, target).accuracy for answer in probabilities])}


def _derived(systems: Mapping[str, Mapping[str, Any]], budget: float) -> dict[str, Any]:
    teacher = _mean(systems["teacher"])
    met = Counter(" > ".join(link["name"] for link in links) for links in systems["chain"]["links"])
    return {
        "budget_macs": budget,
        "points_under_teacher": {
            name: 100 * (teacher - _mean(entry)) for name, entry in systems.items() if name != "teacher"
        },
        "chains_chosen": dict(met),
    }


def _verdict(systems: Mapping[str, Mapping[str, Any]], budget: float) -> str:
    teacher, chain, students = (systems[name] for name in ("teacher", "chain", "chain_of_students"))
    pair = max((systems[name] for name in ("cascade_of_student", "cascade_of_generalist")), key=_mean)
    return (
        f"For {chain['active_macs'] / 1e6:.1f} of at most {budget / 1e6:.1f} MMAC per input the chain that starts with "
        f"the mixture has {_mean(chain):.2%}, {100 * (_mean(teacher) - _mean(chain)):.2f} points under the teacher's "
        f"{_mean(teacher):.2%} at {teacher['active_macs'] / 1e6:.1f}; without a second teacher it has "
        f"{_mean(students):.2%}, the better cascade of a single student and the teacher {_mean(pair):.2%}."
    )


def _mean(entry: Mapping[str, Any]) -> float:
    return float(entry["accuracy"]["mean"])


def _test(space: Workspace) -> IndexedDataset:
    assert space.splits.test is not None
    return space.splits.test


def _target(part: IndexedDataset) -> np.ndarray:
    assert part.target is not None
    return part.target
