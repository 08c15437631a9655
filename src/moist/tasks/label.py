"""Train one student on labels alone: what distillation is compared with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from moist.types import Batch, UserError

__all__ = ["LabelTask"]


class LabelTask(nn.Module):
    """Train ``student`` with the cross-entropy of the labels.

    Args:
        student: module from inputs (N, ...) to logits (N, C).
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:  # noqa: ARG002
        """Return the loss and the accuracy of one batch.

        Raises:
            UserError: the data carry no labels.
        """
        if batch.target is None:
            raise UserError("training on labels needs data with labels, got none; name data.label_column")
        logits = self.student(batch.inputs).float()
        accuracy = (logits.detach().argmax(dim=1) == batch.target).float().mean()
        return {"loss": F.cross_entropy(logits, batch.target), "accuracy": accuracy}
