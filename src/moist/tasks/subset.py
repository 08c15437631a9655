"""Teach a specialist that tells a few classes apart and calls all others one."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from moist.tasks.distill import DistillTask, LossSettings, Signals
from moist.types import Batch, TeacherSignal

__all__ = ["SubsetTask", "collapse_logits"]


def collapse_logits(logits_NC: Tensor, classes_S: Tensor) -> Tensor:
    """Return logits (N, S + 1) of some classes and of all others together, whose probabilities add up.

    They add up at temperature 1, at which specialists answer. Softened first, the many others would weigh more, and a
    specialist that learned this would send too much to its dustbin.

    Args:
        logits_NC: (N, C).
        classes_S: (S,) int64 the classes that stay apart.
    """
    outside_C = torch.ones(logits_NC.shape[1], dtype=torch.bool)
    outside_C[classes_S] = False
    dustbin_N = logits_NC[:, outside_C].logsumexp(dim=1)
    return torch.cat([logits_NC[:, classes_S], dustbin_N[:, None]], dim=1)


class SubsetTask(nn.Module):
    """Distil a specialist with S + 1 outputs from a teacher of C classes.

    Args:
        student: module from inputs (N, ...) to logits (N, S + 1), the dustbin's last.
        signals: the teacher, live or cached, of C classes.
        settings: the loss.
        classes_S: (S,) int64 classes of the specialist.
        num_classes: C.

    Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 5.2.
    """

    def __init__(
        self, student: nn.Module, signals: Signals, settings: LossSettings, classes_S: Tensor, num_classes: int
    ) -> None:
        super().__init__()
        self._signals, self._classes_S = signals, classes_S
        self._numbers_C = torch.full((num_classes,), len(classes_S), dtype=torch.int64)
        self._numbers_C[classes_S] = torch.arange(len(classes_S))
        self.task = DistillTask(student, self._collapsed, settings)

    def _collapsed(self, batch: Batch) -> TeacherSignal:
        return TeacherSignal(collapse_logits(self._signals(batch).logits, self._classes_S))

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the loss of one batch; its classes are renumbered as the specialist has them."""
        target = None if batch.target is None else self._numbers_C[batch.target]
        values: dict[str, Tensor] = self.task(replace(batch, target=target), progress)
        return values
