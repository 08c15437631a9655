"""``hinton-soft-targets``: section 6, soft targets as a regulariser where labels are few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from moist.config import load_config
from moist.evaluation import gap_recovered
from moist.recipes.hinton.digits import (
    SMALL,
    TEACHER,
    DigitsSettings,
    digits_entry,
    digits_facts,
    plain_job,
    plain_network,
    student_settings,
    teacher_job,
    teacher_network,
)
from moist.recipes.hinton.networks import NetworkSettings, network_job
from moist.recipes.hinton.rows import RowsSettings
from moist.recipes.hinton.studying import run_after_shared, total_seconds
from moist.recipes.results import spread
from moist.recipes.study import StudyRequest, study_document
from moist.training import Job, JobResult, JobsSettings

__all__ = ["SoftTargetsSettings", "run"]

PUBLISHED = {
    "source": "Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 6: speech, frame accuracy",
    "accuracy": {"hard_few": 0.445, "soft_few": 0.570, "hard_all": 0.589},
    "stopped_early": {"hard_few": True, "soft_few": False},
}


class SoftTargetsSettings(DigitsSettings):
    """Settings of the study.

    Args:
        teacher_epochs: passes over the data for the teacher; one that is trained for longer is surer of its training
            images, and on few of them teaches less.
        units: of each hidden layer.
        share: of each class's training rows that the small set has.
        few_epochs: passes over the small set.
        few_batch_size: its images in a step.
        few_learning_rate: its peak.
        curve: how many times in the course of training accuracy is measured.
        jobs: processes.
    """

    teacher_epochs: int = Field(60, ge=1)
    units: int = Field(800, ge=1)
    share: float = Field(0.03, gt=0, le=1)
    few_epochs: int = Field(200, ge=1)
    few_batch_size: int = Field(128, ge=1)
    few_learning_rate: float = Field(1e-3, gt=0)
    curve: int = Field(20, ge=1)
    jobs: JobsSettings = JobsSettings()


ARMS = ("hard_few", "soft_few")
TITLES = {"plain": "hard_all"}


def run(request: StudyRequest) -> dict[str, Any]:
    """Train networks on few rows from labels and from soft targets, one on all rows; return the document."""
    small = {**SMALL, "few_epochs": 30, "curve": 5} if request.budget == "small" else {}
    settings = load_config(SoftTargetsSettings, small, request.overrides)
    seeds = range(request.seeds)
    teachers = [teacher_job(request, settings, seed) for seed in seeds]
    plain = [plain_job(request, settings, settings.units, seed) for seed in seeds]
    jobs = list(_jobs(request, settings, {job.name: job.folder for job in teachers}))
    results = run_after_shared(request, [*teachers, *plain], jobs, settings.jobs)
    return _document(request, settings, results)


def _jobs(request: StudyRequest, settings: SoftTargetsSettings, teachers: Mapping[str, Path]) -> Iterator[Job]:
    for seed in range(request.seeds):
        network, teacher = _few(settings, seed), {f"teacher-{seed}": teachers[f"teacher-{seed}"]}
        yield network_job(f"hard_few-{seed}", network, request.out / f"hard_few-{seed}")
        yield network_job(f"soft_few-{seed}", network, request.out / f"soft_few-{seed}", teacher)


def _few(settings: SoftTargetsSettings, seed: int) -> NetworkSettings:
    """Return the network on few rows; the validation rows are left out, since its curve is measured on them."""
    network = student_settings(settings, settings.units, seed)
    training = settings.training(
        settings.few_epochs, batch_size=settings.few_batch_size, learning_rate=settings.few_learning_rate
    )
    rows = RowsSettings(fraction=settings.share, seed=seed)
    return network.model_copy(update={"whole": False, "curve": settings.curve, "rows": rows, "training": training})


def _document(
    request: StudyRequest,
    settings: SoftTargetsSettings,
    results: Mapping[str, JobResult],
) -> dict[str, Any]:
    data = digits_facts(settings)
    small = plain_network(settings.units)
    networks = {"teacher": teacher_network(settings), "plain": small, "hard_few": small, "soft_few": small}
    seeds = range(request.seeds)
    systems = {
        TITLES.get(name, name): digits_entry(settings, network, [results[f"{name}-{seed}"].folder for seed in seeds])
        for name, network in networks.items()
    }
    curves = {name: [results[f"{name}-{seed}"].value["curve"] for seed in seeds] for name in ARMS}
    bound, hard, soft = (systems[name]["accuracy"]["mean"] for name in ("hard_all", *ARMS))
    derived = {
        "recovered": gap_recovered(soft, hard, bound),
        "course": {name: course(curves[name]) for name in ARMS},
        "curves": curves,
    }
    return study_document(
        request,
        data=data,
        teacher=TEACHER,
        systems=systems,
        seconds=total_seconds(results),
        verdict=_verdict(systems, derived, settings),
        derived=derived,
        published=PUBLISHED,
        notes=[
            "Every network is trained to its last step; nothing is stopped early.",
            "Few rows are drawn from the training part without its validation rows, on which the curves are measured; "
            "the teacher and the networks on all rows have seen them too.",
        ],
    )


def course(curves: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Return what becomes of each seed's validation figures between their best point and the end of training.

    Args:
        curves: for each seed, ``accuracy`` and ``nll`` (nats) at points in the course of training.
    """
    return {
        "accuracy_lost": spread([max(point["accuracy"] for point in c) - c[-1]["accuracy"] for c in curves]),
        "nll_gained": spread([c[-1]["nll"] - min(point["nll"] for point in c) for c in curves]),
    }


def _verdict(systems: Mapping[str, Any], derived: Mapping[str, Any], settings: SoftTargetsSettings) -> str:
    bound, hard, soft = (f"{systems[name]['accuracy']['mean']:.1%}" for name in ("hard_all", *ARMS))
    lost, gained = ([derived["course"][name][key]["mean"] for name in ARMS] for key in ("accuracy_lost", "nll_gained"))
    return (
        f"On {settings.share:.0%} of the rows labels give {hard}, soft targets {soft}, on all rows labels give "
        f"{bound}: soft targets recover {_share(derived['recovered'])} of the gap. From its best point to the end of "
        f"training the network taught by labels loses {100 * lost[0]:.2f} points of validation accuracy and "
        f"{gained[0]:.2f} nats, the one taught by soft targets {100 * lost[1]:.2f} points and {gained[1]:.2f} nats."
    )


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.0%}"
