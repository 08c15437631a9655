"""The studies ``ones-…``: experts, dense baselines, and dense students gathered from the experts and distilled."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from moist.config import load_config
from moist.evaluation import measure_latency
from moist.recipes.networks import Network, open_network
from moist.recipes.ones.catalog import SMALL, STUDIES
from moist.recipes.ones.settings import OnesSettings
from moist.recipes.ones.summary import (
    DENSE,
    DENSE_EPOCHS,
    KD,
    MOE,
    REFINED,
    benefit_kept,
    best_method,
    summarize,
    verdict,
)
from moist.recipes.results import spread
from moist.recipes.study import StudyRequest, study_document
from moist.training import Job, JobResult, run_jobs

__all__ = ["plan", "run"]

JOBS = "moist.recipes.ones.train"
BATCHES = (1, 64)
ROUNDS = 5  # of timing, in turns
PUBLISHED = {
    "source": "Xue et al. 2022 (arXiv 2201.10890): ImageNet, and four text data sets on average",
    "benefit_kept": {"vision": 0.617, "text": 0.882},
    "speed_up_over_moe": 3.7,
}


def plan(settings: OnesSettings, request: StudyRequest) -> list[Job]:
    """Return the jobs, named data set/seed/system; whole seeds first."""
    return [
        job for seed in range(request.seeds) for data in settings.data for job in _jobs(settings, request, data, seed)
    ]


def _jobs(settings: OnesSettings, request: StudyRequest, data: str, seed: int) -> Iterator[Job]:
    network = settings.network(data, seed).model_dump(mode="json", exclude_defaults=True)
    refine = settings.refining(seed).model_dump(mode="json", exclude_defaults=True)

    def job(name: str, function: str, after: tuple[str, ...] = (), **payload: Any) -> Job:
        full = f"{data}/seed-{seed}/{name}"
        payload = {**payload, "refine": refine, "moist": version("moist")}
        return Job(full, f"{JOBS}:{function}", payload, request.out / "jobs" / full, after)

    moe = job(MOE, "train_network", settings=network, dense=None)
    yield moe
    yield job(DENSE_EPOCHS, "train_network", settings=network, dense="epochs")
    yield job(DENSE, "train_network", settings=network, dense="compute")
    trained = {"moe": str(moe.folder), "trained": moe.key, "unit_score": settings.unit_score}
    yield job(KD, "make_student", (moe.name,), method=None, **trained)
    for method in settings.methods:
        yield job(method, "make_student", (moe.name,), method=method, **trained)


def run(request: StudyRequest) -> dict[str, Any]:
    """Train what is not done yet; return the result document."""
    values = STUDIES[request.name.removesuffix("-small")]
    changes = SMALL if request.budget == "small" else ()
    settings = load_config(OnesSettings, values, [*changes, *request.overrides])
    jobs = plan(settings, request)
    results = run_jobs(jobs, settings.jobs, quiet=request.quiet)
    found = _by_place(results)
    systems = summarize(found, settings.methods)
    best = best_method(found, settings.methods)
    students = (KD, *(f"{REFINED}{method}" for method in settings.methods))
    derived = {
        "best_method": best,
        "benefit_kept": {name: benefit_kept(systems[name], systems[DENSE], systems[MOE]) for name in students},
        "gain_of_gathering": _gain(systems, f"{REFINED}{best}", KD),
        "moe_over_dense": _gain(systems, MOE, DENSE),
        "moe_over_best_dense": _gain(
            systems, MOE, max((DENSE, DENSE_EPOCHS), key=lambda name: _accuracy(systems[name]))
        ),
        "dense_epochs": {data: seeds[0][DENSE]["epochs"] for data, seeds in found.items()},
        "moe_over_student_latency": _latency({job.name: job.folder for job in jobs}, settings, best),
    }
    return study_document(
        request,
        data=_data(settings, {job.name: job.folder for job in jobs}),
        teacher={},
        systems=systems,
        seconds=sum(result.seconds for result in results.values()),
        verdict=verdict(systems, derived),
        derived=derived,
        published=PUBLISHED,
        notes=_notes(settings),
    )


def _by_place(results: Mapping[str, JobResult]) -> dict[str, dict[int, dict[str, Any]]]:
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for name, result in results.items():
        data, seed, job = name.split("/")
        found.setdefault(data, {}).setdefault(int(seed.removeprefix("seed-")), {})[job] = result.value
    return found


def _accuracy(system: Mapping[str, Any]) -> float:
    return float(system["accuracy"]["mean"])


def _gain(systems: Mapping[str, Mapping[str, Any]], above: str, below: str) -> dict[str, Any]:
    """Return by how much one system is ahead of another, seed by seed, averaged over data sets."""
    pairs = zip(systems[above]["accuracy"]["values"], systems[below]["accuracy"]["values"])
    return spread([a - b for a, b in pairs])


@torch.inference_mode()
def _latency(folders: Mapping[str, Path], settings: OnesSettings, method: str) -> dict[str, float]:
    """Return the time of the network with experts over the dense student's, in eager torch, by batch size."""
    data = settings.data[0]
    moe, dense = (open_network(folders[f"{data}/seed-0/{job}"], quiet=True) for job in (MOE, method))
    ratios = {}
    for size in BATCHES:
        rows = moe.data.inputs("test", size)
        pairs = [[_milliseconds(network, rows) for network in (moe, dense)] for _ in range(ROUNDS)]
        ratios[f"batch_{size}"] = statistics.median(sparse / plain for sparse, plain in pairs)
    return ratios


def _milliseconds(network: Network, rows: torch.Tensor) -> float:
    return measure_latency(lambda: network.student(rows))["median"]


def _data(settings: OnesSettings, folders: Mapping[str, Path]) -> dict[str, Any]:
    splits = [open_network(folders[f"{data}/seed-0/{MOE}"], quiet=True).data.splits for data in settings.data]
    sizes = {
        part: sum(0 if (rows := getattr(each, part)) is None else len(rows) for each in splits)
        for part in ("train", "validation", "test")
    }
    return {"name": ", ".join(settings.data), **sizes}


def _notes(settings: OnesSettings) -> list[str]:
    sparse, student, refine = settings.student.sparse, settings.student, settings.refine
    assert sparse is not None
    return [
        "The gathers are our interpretation of OneS (Xue et al. 2022), whose code is not public; least-squares is "
        "ours.",
        f"A {student.family} of width {student.width}, {student.blocks} deep, {sparse.num_experts} experts, "
        f"{sparse.top_k} for each token; {settings.training.epochs} epochs of batches of "
        f"{settings.training.batch_size}. Dense students have an expert's width.",
        f"Students are distilled from the network with experts for {refine.training.epochs} epochs (T = "
        f"{refine.loss.temperature:g}, {refine.loss.hard_weight:.0%} of the loss from labels).",
        "dense_same_compute trains from labels for as many epochs as cost the forward and backward passes of the "
        "network with experts and then of a student, its teacher's forward passes included; dense_same_epochs for as "
        "many as the network with experts.",
        "The best gather is chosen on the validation parts; every network was scored once on the test parts.",
        "moe_over_student_latency: eager torch, one thread, the first data set's networks.",
    ]
