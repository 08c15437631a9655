"""Train a mixture of specialists on a table in memory, towards given soft targets."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import nn

from moist.data import IndexedDataset, Loader, Transform
from moist.mixture import MixtureOfSpecialists, MixtureSettings, build_gate, build_mixture
from moist.partition import ConfusionPartitioner, EmbeddingPartitioner, RandomPartitioner, domain_rows
from moist.students import StudentSettings, create_student
from moist.tasks import DistillTask, JointSettings, JointTask, LossSettings, RouterTask
from moist.training import TrainingSettings, fit
from moist.types import Batch, Partition, TeacherSignal

__all__ = ["Lesson", "distil"]

# Soft targets hold what the labels say already, and a small student wastes capacity on the tail of softened ones.
LOSS = LossSettings(temperature=1.0, hard_weight=0.0)


@dataclass(frozen=True)
class Lesson:
    """Everything that training needs.

    Args:
        dataset: raw rows; ``target`` holds the most probable class of each.
        transform: how students read them.
        log_target_NC: (N, C) log-probabilities to learn.
        student: what a specialist looks like.
        mixture: which mixture.
        joint: weights of the joint objective.
        training: how to train; ``epochs`` is set from ``num_steps``.
        num_steps: batches in all, whatever the number of rows.
        seed: of everything random.
        tell: called with what is trained next.
    """

    dataset: IndexedDataset
    transform: Transform
    log_target_NC: np.ndarray
    student: StudentSettings
    mixture: MixtureSettings
    joint: JointSettings
    training: TrainingSettings
    num_steps: int
    seed: int
    tell: Callable[[str], object]

    @property
    def num_classes(self) -> int:
        return int(self.log_target_NC.shape[1])

    def example(self, num_rows: int = 64) -> torch.Tensor:
        """Return a few rows as a student reads them."""
        return self.transform.to_tensor(torch.from_numpy(self.transform.encode(self.dataset.inputs[:num_rows])))


class _Targets:
    """The soft targets, looked up by a batch's rows: to a task, a teacher like any other."""

    def __init__(self, log_target_NC: np.ndarray) -> None:
        self.logits = torch.from_numpy(log_target_NC.astype(np.float32))

    def __call__(self, batch: Batch) -> TeacherSignal:
        return TeacherSignal(self.logits[batch.index])


def distil(lesson: Lesson) -> MixtureOfSpecialists:
    """Train the mixture that the lesson describes; torch's own random numbers stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(lesson.seed)
        mixture = _joint(lesson) if lesson.mixture.method == "joint" else _domains(lesson)
    mixture.classes, mixture.transform = lesson.dataset.classes, lesson.transform
    mixture.schema = lesson.dataset.schema
    return mixture.eval()


def _joint(lesson: Lesson) -> MixtureOfSpecialists:
    """Train gate and specialists together on the mixture likelihood."""
    lesson.tell("training gate and specialists together")
    shape = lesson.transform.input_shape
    trainable = build_mixture(lesson.mixture, lesson.student, shape, lesson.num_classes, lesson.example())
    task = JointTask(trainable, _Targets(lesson.log_target_NC), LOSS, lesson.joint)
    _train(lesson, task, lesson.num_steps)
    return trainable.deploy()


def _domains(lesson: Lesson) -> MixtureOfSpecialists:
    """Train a generalist, from it a specialist on each domain, and a gate that tells the domains apart.

    They share the steps: a quarter for the generalist, half for all specialists, a quarter for the gate.
    """
    settings, shape = lesson.mixture, lesson.transform.input_shape
    targets = _Targets(lesson.log_target_NC)
    lesson.tell("training the generalist")
    generalist = create_student(lesson.student, shape, lesson.num_classes)
    _train(lesson, DistillTask(generalist, targets, LOSS), lesson.num_steps // 4)
    partition = _cut(lesson)
    specialists = nn.ModuleList()
    for domain in range(settings.num_domains):
        lesson.tell(f"training specialist {domain}")
        specialist = copy.deepcopy(generalist)
        rows = domain_rows(partition, domain, settings.outside, lesson.seed)
        steps = lesson.num_steps // 2 // settings.num_domains
        _train(lesson, DistillTask(specialist, targets, LOSS), steps, rows)
        specialists.append(nn.Sequential(*specialist.stages))
    lesson.tell("training the gate")
    gate = build_gate(settings.router, shape, settings.num_domains, lesson.example())
    _train(lesson, RouterTask(gate, partition, targets), lesson.num_steps // 4)
    return MixtureOfSpecialists(nn.Identity(), gate, specialists)


def _cut(lesson: Lesson) -> Partition:
    """Cut the rows into domains by the method named in the settings."""
    settings, seed = lesson.mixture, lesson.seed
    if settings.method == "random":
        return RandomPartitioner(settings.num_domains, seed).partition(len(lesson.dataset))
    if settings.method == "class-domains":
        probs_NC = np.exp(lesson.log_target_NC)
        return ConfusionPartitioner(settings.num_domains, seed).partition(probs_NC, lesson.dataset.target)
    return EmbeddingPartitioner(settings.num_domains, seed).partition(lesson.log_target_NC)


def _train(lesson: Lesson, task: nn.Module, num_steps: int, rows: np.ndarray | None = None) -> None:
    size = lesson.training.batch_size
    loader = Loader(lesson.dataset, lesson.transform, batch_size=size, seed=lesson.seed, rows=rows)
    epochs = ceil(max(num_steps, 1) / len(loader))
    fit(task, loader, lesson.training.model_copy(update={"epochs": epochs}), seed=lesson.seed)
