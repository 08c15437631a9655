"""The MNIST networks of these studies: the regularised teacher, and plain networks with or without soft targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from moist.config import Settings
from moist.data import AugmentSettings, DataSettings
from moist.recipes.hinton.networks import NetworkSettings, network_job, read_logits
from moist.recipes.hinton.recording import recording_job
from moist.recipes.hinton.rows import RowsSettings
from moist.recipes.hinton.studying import (
    costs_of,
    data_facts,
    keyed,
    networks_entry,
    num_errors,
    shared_folder,
    test_target_of,
)
from moist.recipes.study import StudyRequest
from moist.students import StudentSettings
from moist.tasks import LossSettings
from moist.training import Job, TrainingSettings

__all__ = [
    "SMALL",
    "TARGETS",
    "TEACHER",
    "DigitsSettings",
    "TaughtSettings",
    "digits_entry",
    "digits_facts",
    "plain_job",
    "plain_network",
    "student_settings",
    "taught",
    "teacher_job",
    "teacher_network",
    "teachers_and_targets",
    "test_errors",
]

SMALL: dict[str, Any] = {"limit": 3000, "teacher_epochs": 4, "student_epochs": 4, "plain_epochs": 4}
TEACHER = {"name": "2×1200 units, dropout, max-norm, images moved by up to 2 pixels"}
TARGETS = "Soft targets are the mean of a teacher's logits over all places that its images are moved to."


class DigitsSettings(Settings):
    """What all MNIST studies set.

    Args:
        limit: use this many training images only; None for all.
        teacher_epochs: passes over the data for the teacher.
        student_epochs: passes for the networks that it teaches.
        plain_epochs: passes for the networks that learn from labels alone.
        batch_size: images in a step.
        learning_rate: its peak.
        temperature: of the soft targets.
        hard_weight: share of the labels' cross-entropy in the distilled networks' loss.
        dropout: share of the teacher's hidden units that are dropped.
        input_dropout: share of its pixels that are dropped.
        max_norm: longest length of a hidden unit's incoming weights.
        jitter: pixels that the teacher's images are moved by, at most.
    """

    limit: int | None = Field(None, ge=100)
    teacher_epochs: int = Field(150, ge=1)
    student_epochs: int = Field(60, ge=1)
    plain_epochs: int = Field(20, ge=1)
    batch_size: int = Field(512, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    temperature: float = Field(20.0, gt=0)
    hard_weight: float = Field(0.1, ge=0, le=1)
    dropout: float = Field(0.35, ge=0, lt=1)
    input_dropout: float = Field(0.1, ge=0, lt=1)
    max_norm: float = Field(3.5, gt=0)
    jitter: int = Field(2, ge=0)

    @property
    def data(self) -> DataSettings:
        """The data set."""
        return DataSettings(name="mnist", limit=self.limit)

    def training(
        self,
        epochs: int,
        *,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        optimizer: Literal["adamw", "sgd"] = "adamw",
    ) -> TrainingSettings:
        """Return how a network is trained: the forward pass in bfloat16, three times as fast where the CPU has it.

        Args:
            epochs: passes over its rows.
            batch_size: images in a step; None for the study's.
            learning_rate: its peak; None for the study's.
            optimizer: Adam, or gradient descent with momentum.
        """
        return TrainingSettings(
            epochs=epochs,
            optimizer=optimizer,
            batch_size=batch_size or self.batch_size,
            learning_rate=learning_rate or self.learning_rate,
            gradient_clip=None,
            precision="bfloat16",
        )


class TaughtSettings(DigitsSettings):
    """What the studies of section 3 set besides: how the taught network is trained.

    Args:
        student_epochs: passes for the networks that the teacher teaches.
        temperature: of the soft targets.
        hard_weight: share of the labels' cross-entropy; none.
        taught_batch_size: images in a step of a taught network.
        taught_learning_rate: its peak, of gradient descent with momentum.
        initial_std: of a taught network's weights at the start; small ones make it learn features of its own.
    """

    student_epochs: int = Field(40, ge=1)
    temperature: float = Field(8.0, gt=0)
    hard_weight: float = Field(0.0, ge=0, le=1)
    taught_batch_size: int = Field(128, ge=1)
    taught_learning_rate: float = Field(0.05, gt=0)
    initial_std: float = Field(0.02, gt=0)


def plain_network(units: int) -> StudentSettings:
    """Return two hidden layers of ReLU units without regularisation."""
    return StudentSettings(family="mlp", width=units, depth=2)


def teacher_network(settings: DigitsSettings) -> StudentSettings:
    """Return the paper's 2×1200 units with dropout and limited weights."""
    return StudentSettings(
        family="torch",
        factory="moist.recipes.hinton.regularised:regularised_network",
        factory_settings={
            "dropout": settings.dropout,
            "input_dropout": settings.input_dropout,
            "max_norm": settings.max_norm,
        },
    )


def teacher_settings(settings: DigitsSettings, seed: int) -> NetworkSettings:
    """Return the teacher: images moved anew in every epoch, all 60,000 of them."""
    return NetworkSettings(
        data=settings.data,
        student=teacher_network(settings),
        training=settings.training(settings.teacher_epochs),
        augment=AugmentSettings(crop=settings.jitter),
        signals=True,
        seed=seed,
    )


def teacher_job(request: StudyRequest, settings: DigitsSettings, seed: int) -> Job:
    """Return the job of one teacher, in the folder that the studies share."""
    folder = shared_folder(request) / f"teacher-{seed}"
    return keyed(network_job(f"teacher-{seed}", teacher_settings(settings, seed), folder))


def teachers_and_targets(request: StudyRequest, settings: DigitsSettings) -> tuple[list[Job], list[Job]]:
    """Return the jobs of every seed's teacher, and those that record its mean soft targets, in the shared folder."""
    teachers = [teacher_job(request, settings, seed) for seed in range(request.seeds)]
    targets = [
        keyed(recording_job(f"targets-{seed}", teacher, shared_folder(request) / f"targets-{seed}"))
        for seed, teacher in enumerate(teachers)
    ]
    return teachers, targets


def plain_job(request: StudyRequest, settings: DigitsSettings, units: int, seed: int) -> Job:
    """Return the job of one network from labels, in the folder that the studies share."""
    network = student_settings(settings, units, seed, epochs=settings.plain_epochs)
    network = network.model_copy(update={"loss": LossSettings()})  # of no use to it, so it shall not tell copies apart
    return keyed(network_job(f"plain-{seed}", network, shared_folder(request) / f"plain-{seed}"))


def student_settings(
    settings: DigitsSettings,
    units: int,
    seed: int,
    *,
    temperature: float | None = None,
    epochs: int | None = None,
    rows: RowsSettings | None = None,
    signals: bool = False,
) -> NetworkSettings:
    """Return a plain network, to be trained on images as they are.

    Args:
        settings: of the study.
        units: of each hidden layer.
        seed: of everything random.
        temperature: of the soft targets; None for the study's.
        epochs: passes over the data; None for the study's.
        rows: which training rows; None for all.
        signals: keep what the network says of every training row.
    """
    return NetworkSettings(
        data=settings.data,
        rows=rows or RowsSettings(),
        student=plain_network(units),
        training=settings.training(epochs or settings.student_epochs),
        loss=LossSettings(temperature=temperature or settings.temperature, hard_weight=settings.hard_weight),
        signals=signals,
        seed=seed,
    )


def taught(settings: TaughtSettings, network: NetworkSettings, learning_rate: float | None = None) -> NetworkSettings:
    """Return a plain network to be trained on soft targets, by gradient descent from small weights.

    Args:
        settings: of the study.
        network: of :func:`student_settings`.
        learning_rate: its peak; None for the study's.
    """
    units = network.student.width
    training = settings.training(
        network.training.epochs,
        batch_size=settings.taught_batch_size,
        learning_rate=learning_rate or settings.taught_learning_rate,
        optimizer="sgd",
    )
    student = StudentSettings(
        family="torch",
        factory="moist.recipes.hinton.regularised:small_start_network",
        factory_settings={"hidden": [units, units], "initial_std": settings.initial_std},
    )
    return network.model_copy(update={"training": training, "student": student})


def digits_facts(settings: DigitsSettings) -> dict[str, Any]:
    """Return what a result file says of the data; the networks train on the validation rows too, as the paper's do."""
    return data_facts(settings.data, whole=True)


def test_errors(settings: DigitsSettings, folder: Path) -> int:
    """Return how many test images a finished network gets wrong."""
    return num_errors(read_logits(folder), test_target_of(settings.data))


def digits_entry(settings: DigitsSettings, network: StudentSettings, folders: Sequence[Path]) -> dict[str, Any]:
    """Return a result file's entry of finished networks of one shape, one folder for each seed."""
    return networks_entry(settings.data, costs_of(network), folders)
