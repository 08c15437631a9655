"""Distil one student from a teacher's signals, and from labels where there are any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from moist.config import Settings
from moist.losses import dist_loss, dkd_loss, kd_loss, standardize_logits
from moist.types import Batch, TeacherSignal

__all__ = ["DistillTask", "LossSettings", "Signals"]

Signals = Callable[[Batch], TeacherSignal]


class LossSettings(Settings):
    """How a student follows its teacher; a joint mixture uses the temperature and the share of the labels alone."""

    kind: Literal["kd", "dkd", "dist"] = Field(
        "kd",
        description="divergence of softened probabilities (kd), with the right class and the others apart (dkd), or "
        "their correlation (dist)",
    )
    temperature: float = Field(4.0, gt=0, description="divides both networks' logits; the higher, the softer")
    hard_weight: float = Field(
        0.1, ge=0, le=1, description="share of the labels' cross-entropy, 0 without labels; distillation has the rest"
    )
    standardize: bool = Field(False, description="standardise both networks' logits first (kd only)")
    beta: float = Field(2.0, ge=0, description="weight of dkd's part among the other classes")


class DistillTask(nn.Module):
    """Train ``student`` towards the teacher's signal of the very view that it sees.

    Args:
        student: module from inputs (N, ...) to logits (N, C).
        signals: the teacher, live or cached.
        settings: the loss.

    Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 2, by default.
    """

    def __init__(self, student: nn.Module, signals: Signals, settings: LossSettings) -> None:
        super().__init__()
        self.student = student
        self.signals = signals
        self.settings = settings

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the loss of one batch, and accuracy, or without labels agreement with the teacher.

        DKD's weight rises over the first tenth of training.
        """
        logits = self.student(batch.inputs).float()
        teacher = self.signals(batch).logits
        soft = self._soft(logits, teacher, batch.target, progress)
        if batch.target is None:
            return {"loss": soft, "agreement": (logits.detach().argmax(dim=1) == teacher.argmax(dim=1)).float().mean()}
        hard = F.cross_entropy(logits, batch.target)
        weight = self.settings.hard_weight
        accuracy = (logits.detach().argmax(dim=1) == batch.target).float().mean()
        return {"loss": (1 - weight) * soft + weight * hard, "accuracy": accuracy}

    def _soft(self, logits: Tensor, teacher: Tensor, target: Tensor | None, progress: float) -> Tensor:
        settings = self.settings
        if settings.kind == "dist":
            return dist_loss(logits, teacher, settings.temperature)
        if settings.kind == "dkd":
            labels = teacher.argmax(dim=1) if target is None else target
            return min(10 * progress, 1.0) * dkd_loss(logits, teacher, labels, settings.temperature, beta=settings.beta)
        if settings.standardize:
            logits, teacher = standardize_logits(logits), standardize_logits(teacher)
        return kd_loss(logits, teacher, settings.temperature)
