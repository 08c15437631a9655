"""The studies ``ones-…``: experts, dense baselines, and dense students gathered from the experts and distilled."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from moist.config import load_config
from moist.evaluation import measure_latency
from moist.recipes.networks import Network, open_network
from moist.recipes.ones.catalog import SMALL, SMALL_DATA, STUDIES
from moist.recipes.ones.settings import OnesSettings
from moist.recipes.ones.summary import (
    DENSE,
    DENSE_EPOCHS,
    KD,
    KD_COPIED,
    MOE,
    ORIGIN,
    REFINED,
    benefit_kept,
    best_method,
    by_length,
    gain,
    student_name,
    summarize,
    verdict,
)
from moist.recipes.ones.train import COPIED
from moist.recipes.study import StudyRequest, study_document
from moist.students.encoders import DEFAULT_PATCH
from moist.training import Job, JobResult, TrainingSettings, run_jobs

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
        job
        for seed in range(request.seeds)
        for data in settings.data
        for job in _jobs(_Place(settings, request, data, seed))
    ]


@dataclass(frozen=True)
class _Place:
    """One data set and seed of a study: makes its jobs."""

    settings: OnesSettings
    request: StudyRequest
    data: str
    seed: int

    def job(
        self, name: str, function: str, payload: Mapping[str, Any], after: Job | None = None, epochs: int | None = None
    ) -> Job:
        """Return a job; ``epochs`` are those of the distillation, None for the longest."""
        full = f"{self.data}/seed-{self.seed}/{name}"
        refine = self.settings.refining(self.seed, epochs).model_dump(mode="json", exclude_defaults=True)
        whole = {**payload, "refine": refine, "moist": version("moist")}
        folder = self.request.out / "jobs" / full
        return Job(full, f"{JOBS}:{function}", whole, folder, () if after is None else (after.name,))

    def network(self, training: TrainingSettings) -> dict[str, Any]:
        """Return the settings of the network with experts, trained so."""
        made = self.settings.network(self.data, self.seed).model_copy(update={"training": training})
        return made.model_dump(mode="json", exclude_defaults=True)


def _jobs(place: _Place) -> Iterator[Job]:
    settings, training = place.settings, {"settings": place.network(place.settings.training)}
    origin, grown, before = None, {}, {}
    if settings.origin is not None:
        origin = place.job(ORIGIN, "train_network", {"settings": place.network(settings.origin), "dense": "epochs"})
        grown, before = {"origin": str(origin.folder), "trained": origin.key}, {"before": settings.origin.epochs}
        yield origin
    moe = place.job(MOE, "train_network", {**training, "dense": None, **grown}, origin)
    yield moe
    yield place.job(DENSE_EPOCHS, "train_network", {**training, "dense": "epochs", **before})
    yield place.job(DENSE, "train_network", {**training, "dense": "compute", **before})
    teacher = {"moe": str(moe.folder), "trained": moe.key, "unit_score": settings.unit_score}
    for epochs in reversed(settings.lengths):
        for start in (KD, COPIED, *settings.methods):
            name = student_name(start, epochs, settings.lengths)
            payload = {**teacher, "method": None if start == KD else start}
            yield place.job(name, "make_student", payload, moe, epochs)


def run(request: StudyRequest) -> dict[str, Any]:
    """Train what is not done yet; return the result document."""
    settings = _settings(request)
    jobs = plan(settings, request)
    results = run_jobs(jobs, settings.jobs, quiet=request.quiet)
    found = _by_place(results)
    systems = summarize(found, settings.methods)
    best = best_method(found, settings.methods)
    students = (KD, KD_COPIED, *(f"{REFINED}{method}" for method in settings.methods))
    derived = {
        "best_method": best,
        "benefit_kept": {name: benefit_kept(systems[name], systems[DENSE], systems[MOE]) for name in students},
        "by_length": by_length(found, settings.methods, settings.lengths),
        "moe_over_dense": gain(systems[MOE], systems[DENSE]),
        "moe_over_best_dense": gain(
            systems[MOE], max((systems[name] for name in (DENSE, DENSE_EPOCHS)), key=_accuracy)
        ),
        "dense_epochs": {data: seeds[0][DENSE]["epochs"] for data, seeds in found.items()},
        "latency": _latency({job.name: job.folder for job in jobs}, settings, best),
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


def _settings(request: StudyRequest) -> OnesSettings:
    values = STUDIES[request.name.removesuffix("-small")]
    if request.budget == "full":
        return load_config(OnesSettings, values, request.overrides)
    trial = {**values, "data": values["data"][:SMALL_DATA]}
    return load_config(OnesSettings, trial, [*SMALL, *request.overrides])


def _by_place(results: Mapping[str, JobResult]) -> dict[str, dict[int, dict[str, Any]]]:
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for name, result in results.items():
        data, seed, job = name.split("/")
        found.setdefault(data, {}).setdefault(int(seed.removeprefix("seed-")), {})[job] = result.value
    return found


def _accuracy(system: Mapping[str, Any]) -> float:
    return float(system["accuracy"]["mean"])


@torch.inference_mode()
def _latency(folders: Mapping[str, Path], settings: OnesSettings, method: str) -> dict[str, dict[str, float]]:
    """Return milliseconds of the network with experts and of the dense student in eager torch, by batch size."""
    data = settings.data[0]
    moe, dense = (open_network(folders[f"{data}/seed-0/{job}"], quiet=True) for job in (MOE, method))
    times = {}
    for size in BATCHES:
        rows = moe.data.inputs("test", size)
        pairs = [[_milliseconds(network, rows) for network in (moe, dense)] for _ in range(ROUNDS)]
        times[f"batch_{size}"] = {
            "moe_ms": statistics.median(sparse for sparse, _ in pairs),
            "student_ms": statistics.median(plain for _, plain in pairs),
            "ratio": statistics.median(sparse / plain for sparse, plain in pairs),
        }
    return times


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
    heads = f"{student.heads} attention head{'s' * (student.heads > 1)}"
    return [
        "The gathers are our interpretation of OneS (Xue et al. 2022), whose code is not public; least-squares is "
        "ours.",
        f"{_rows(settings)}A {student.family} of width {student.width}, {student.blocks} deep, {heads}, "
        f"{sparse.num_experts} experts, {sparse.top_k} for each token; {settings.training.epochs} epochs of batches of "
        f"{settings.training.batch_size}. Dense students have an expert's width.",
        *_origin(settings),
        f"Students are distilled from the network with experts for {refine.training.epochs} epochs (T = "
        f"{refine.loss.temperature:g}, {refine.loss.hard_weight:.0%} of the loss from labels).",
        "Copied students start with all of the network's weights but its experts', which fresh layers replace: what a "
        "gather adds to that is its own.",
        "dense_same_compute trains from labels for as many epochs as cost the forward and backward passes of the "
        "network with experts and then of a student, its teacher's forward passes included; dense_same_epochs for as "
        "many as the network with experts.",
        "The best gather is chosen on the validation parts; every network was scored once on the test parts.",
        f"Times: eager torch, one thread, the first data set's networks in turns; medians of {ROUNDS} rounds of 100 "
        "calls.",
    ]


def _origin(settings: OnesSettings) -> list[str]:
    if settings.origin is None:
        return []
    return [
        f"Experts start as copies of the layers of dense_origin, which was trained for {settings.origin.epochs} epochs "
        "(sparse upcycling, Komatsuzaki et al. 2022, arXiv 2212.05055). The dense baselines have these epochs too."
    ]


def _rows(settings: OnesSettings) -> str:
    """Return how images are cut into tokens and varied; nothing of texts."""
    if settings.student.family != "vit":
        return ""
    augment = settings.augment
    ways = [f"{augment.crop} pixels of shift" * (augment.crop > 0), "mirror images" * augment.flip]
    varied = " and ".join(way for way in ways if way)
    patch = settings.student.stem_stride or DEFAULT_PATCH
    return f"Patches of {patch} pixels a side{f', images varied by {varied}' if varied else ''}. "
