"""``hinton-ensemble`` and ``hinton-ensemble-cifar10``: section 4, an ensemble into one of its members' size.

Members that learn from the same labels agree so much on MNIST that averaging gains too little to be measured; each
learns from a draw of its own, which the paper reports to change little in speech.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from moist.config import load_config
from moist.data import AugmentSettings
from moist.recipes.hinton.averaging import EnsemblePlan, run_ensembles
from moist.recipes.hinton.digits import DigitsSettings, plain_network, student_settings
from moist.recipes.hinton.networks import NetworkSettings
from moist.recipes.hinton.pictures import PICTURE, PicturesSettings, picture_network
from moist.recipes.hinton.rows import RowsSettings
from moist.recipes.hinton.studying import costs_of
from moist.recipes.study import StudyRequest
from moist.tasks import LossSettings
from moist.training import JobsSettings

__all__ = ["EnsembleSettings", "PictureEnsembleSettings", "run", "run_cifar10"]

SMALL: dict[str, Any] = {"limit": 3000, "num_members": 3, "student_epochs": 4, "member_epochs": 4}


class EnsembleSettings(DigitsSettings):
    """Settings of the study on MNIST.

    Args:
        student_epochs: passes over all images for each student.
        temperature: of the soft targets.
        hard_weight: share of the labels' cross-entropy; none, since the students get no labels.
        units: of each hidden layer, of members and students alike.
        num_members: networks in an ensemble.
        member_share: of the labels of each class that a member gets, in a draw of its own.
        member_epochs: passes over a member's rows.
        member_batch_size: its images in a step.
        member_learning_rate: its peak.
        num_students: networks distilled from each ensemble.
        jobs: processes.
    """

    student_epochs: int = Field(30, ge=1)
    temperature: float = Field(1.0, gt=0)
    hard_weight: float = Field(0.0, ge=0, le=1)
    units: int = Field(300, ge=1)
    num_members: int = Field(10, ge=2)
    member_share: float = Field(0.1, gt=0, le=1)
    member_epochs: int = Field(20, ge=1)
    member_batch_size: int = Field(128, ge=1)
    member_learning_rate: float = Field(1e-3, gt=0)
    num_students: int = Field(2, ge=1)
    jobs: JobsSettings = JobsSettings()


class PictureEnsembleSettings(PicturesSettings):
    """Settings of the study on CIFAR-10.

    Args:
        student_epochs: passes over all images for each student.
        temperature: of the soft targets.
        views: cut and mirrored views of each image that the members are asked about, and the student shown.
        num_members: networks in an ensemble.
        member_share: of the labels of each class that a member gets, in a draw of its own.
        member_epochs: passes over a member's rows.
        num_students: networks distilled from each ensemble.
        jobs: processes.
    """

    student_epochs: int = Field(20, ge=1)
    temperature: float = Field(1.0, gt=0)
    views: int = Field(2, ge=1)
    num_members: int = Field(10, ge=2)
    member_share: float = Field(0.1, gt=0, le=1)
    member_epochs: int = Field(20, ge=1)
    num_students: int = Field(1, ge=1)
    jobs: JobsSettings = JobsSettings()


def run(request: StudyRequest) -> dict[str, Any]:
    """Train ensembles of networks on MNIST, and networks like their members on their soft targets."""
    settings = load_config(EnsembleSettings, SMALL if request.budget == "small" else {}, request.overrides)
    plan = EnsemblePlan(
        settings.data,
        member=lambda draw: _digit_member(settings, draw),
        student=lambda seed: student_settings(settings, settings.units, seed),
        num_members=settings.num_members,
        num_students=settings.num_students,
        costs=costs_of(plain_network(settings.units)),
        whole=True,
        note=f"{_learned_from(settings)} The paper's members share all data and differ in their start.",
    )
    return run_ensembles(request, plan, settings.jobs)


def run_cifar10(request: StudyRequest) -> dict[str, Any]:
    """Do the same with residual networks on CIFAR-10."""
    settings = load_config(PictureEnsembleSettings, SMALL if request.budget == "small" else {}, request.overrides)
    plan = EnsemblePlan(
        settings.data,
        member=lambda draw: _picture_member(settings, draw),
        student=lambda seed: _picture_student(settings, seed),
        num_members=settings.num_members,
        num_students=settings.num_students,
        costs=costs_of(settings.student, PICTURE),
        whole=False,
        note=f"{_learned_from(settings)} Members see their own images as they are; they are asked about, and the "
        f"student is shown, {settings.views} views of each, cut and mirrored.",
    )
    return run_ensembles(request, plan, settings.jobs)


def _learned_from(settings: EnsembleSettings | PictureEnsembleSettings) -> str:
    return (
        f"A member learns from the labels of {settings.member_share:.0%} of the images, in a draw of its own; a "
        "student from soft targets of all images, and from no label."
    )


def _digit_member(settings: EnsembleSettings, draw: int) -> NetworkSettings:
    training = settings.training(
        settings.member_epochs, batch_size=settings.member_batch_size, learning_rate=settings.member_learning_rate
    )
    rows = RowsSettings(fraction=settings.member_share, seed=draw)
    network = student_settings(settings, settings.units, draw, rows=rows, signals=True)
    return network.model_copy(update={"training": training, "loss": LossSettings()})


def _picture_member(settings: PictureEnsembleSettings, draw: int) -> NetworkSettings:
    """Return a member that learns from images as they are, and is asked about the views that the student is shown."""
    network = picture_network(settings, settings.member_epochs, draw)
    return network.model_copy(
        update={
            "whole": False,
            "rows": RowsSettings(fraction=settings.member_share, seed=draw),
            "augment": AugmentSettings(),
            "signals": True,
            "signal_views": settings.views,
            "signal_augment": network.augment,
        }
    )


def _picture_student(settings: PictureEnsembleSettings, seed: int) -> NetworkSettings:
    loss = LossSettings(temperature=settings.temperature, hard_weight=0.0)
    return picture_network(settings, settings.student_epochs, seed).model_copy(
        update={"whole": False, "views": settings.views, "loss": loss}
    )
