"""``hinton-soft-targets`` and ``hinton-soft-targets-cifar10``: section 6, soft targets as a regulariser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from moist.config import load_config
from moist.recipes.hinton.digits import (
    SMALL,
    TEACHER,
    DigitsSettings,
    plain_job,
    plain_network,
    student_settings,
    teacher_job,
    teacher_network,
)
from moist.recipes.hinton.few_rows import ARMS, FewRowsPlan, few_rows_document
from moist.recipes.hinton.networks import NetworkSettings, network_job
from moist.recipes.hinton.pictures import PICTURE, PicturesSettings, picture_network
from moist.recipes.hinton.rows import RowsSettings, choose_rows
from moist.recipes.hinton.studying import costs_of, run_after_shared, splits_of
from moist.recipes.study import StudyRequest
from moist.tasks import LossSettings
from moist.training import Job, JobsSettings, run_jobs

__all__ = ["PictureSoftTargetsSettings", "SoftTargetsSettings", "run", "run_cifar10"]


class SoftTargetsSettings(DigitsSettings):
    """Settings of the study on MNIST.

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


class PictureSoftTargetsSettings(PicturesSettings):
    """Settings of the study on CIFAR-10.

    Args:
        steps: of every network's training, on few rows and on all, to the nearest whole pass over its rows.
        share: of each class's training rows that the small set has.
        temperature: of the soft targets.
        curve: how many times in the course of training accuracy is measured.
        jobs: processes.
    """

    steps: int = Field(3000, ge=1)
    share: float = Field(0.03, gt=0, le=1)
    temperature: float = Field(4.0, gt=0)
    curve: int = Field(20, ge=1)
    jobs: JobsSettings = JobsSettings()


def run(request: StudyRequest) -> dict[str, Any]:
    """Train networks on few rows of MNIST from labels and from soft targets, one on all rows; return the document."""
    small = {**SMALL, "few_epochs": 30, "curve": 5} if request.budget == "small" else {}
    settings = load_config(SoftTargetsSettings, small, request.overrides)
    seeds = range(request.seeds)
    teachers = [teacher_job(request, settings, seed) for seed in seeds]
    plain = [plain_job(request, settings, settings.units, seed) for seed in seeds]
    jobs = list(_jobs(request, settings, {job.name: job.folder for job in teachers}))
    results = run_after_shared(request, [*teachers, *plain], jobs, settings.jobs)
    small_costs, teacher_costs = costs_of(plain_network(settings.units)), costs_of(teacher_network(settings))
    plan = FewRowsPlan(
        settings.data,
        whole=True,
        share=settings.share,
        teacher=TEACHER,
        networks={
            "teacher": ("teacher", teacher_costs),
            "hard_all": ("plain", small_costs),
            **{name: (name, small_costs) for name in ARMS},
        },
        notes=[
            "Few rows are drawn from the training part without its validation rows, on which the curves are measured; "
            "the teacher and the networks on all rows have seen them too.",
        ],
    )
    return few_rows_document(request, plan, results)


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


def run_cifar10(request: StudyRequest) -> dict[str, Any]:
    """Do the same on CIFAR-10, where the teacher is the network on all rows itself, as in the paper."""
    small = {"limit": 3000, "steps": 40, "curve": 5} if request.budget == "small" else {}
    settings = load_config(PictureSoftTargetsSettings, small, request.overrides)
    results = run_jobs(list(_picture_jobs(request, settings)), settings.jobs, quiet=request.quiet)
    costs = costs_of(settings.student, PICTURE)
    plan = FewRowsPlan(
        settings.data,
        whole=False,
        share=settings.share,
        teacher={"name": "the network of the same shape on all rows, asked about every view"},
        networks={name: (name, costs) for name in ("hard_all", *ARMS)},
        notes=[
            f"All networks have one shape, the same cut and mirrored images and {settings.steps:,} steps, as near as "
            "whole passes over their rows come to it.",
            "No network has seen the validation rows, on which the curves are measured.",
        ],
    )
    return few_rows_document(request, plan, results)


def _picture_jobs(request: StudyRequest, settings: PictureSoftTargetsSettings) -> Iterator[Job]:
    for seed in range(request.seeds):
        network = _pictures(settings, seed, RowsSettings())
        teacher = network_job(f"hard_all-{seed}", network, request.out / f"hard_all-{seed}")
        yield teacher
        network = _pictures(settings, seed, RowsSettings(fraction=settings.share, seed=seed))
        network = network.model_copy(update={"curve": settings.curve})
        yield network_job(f"hard_few-{seed}", network, request.out / f"hard_few-{seed}")
        loss = LossSettings(temperature=settings.temperature, hard_weight=0.0)
        network = network.model_copy(update={"loss": loss, "live": settings.student})
        name = f"soft_few-{seed}"
        yield network_job(name, network, request.out / name, {teacher.name: teacher.folder})


def _pictures(settings: PictureSoftTargetsSettings, seed: int, rows: RowsSettings) -> NetworkSettings:
    """Return a network on some rows, none of them for validation, with as many epochs as the steps take."""
    num_rows = len(choose_rows(rows, splits_of(settings.data).train.target))
    epochs = max(1, round(settings.steps / max(1, num_rows // settings.batch_size)))
    return picture_network(settings, epochs, seed).model_copy(update={"whole": False, "rows": rows})
