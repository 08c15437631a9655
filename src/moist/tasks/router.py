"""Teach a router which domain an input belongs to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moist.tasks.distill import Signals
from moist.types import Batch, Partition

__all__ = ["RouterTask"]


class RouterTask(nn.Module):
    """Train ``router`` to predict the domain of each input.

    Where the domains are made of classes, the teacher's probabilities summed over each domain are the soft target, so
    the router learns what the teacher itself finds doubtful; otherwise the target is the assignment of each example.

    Args:
        router: module from inputs (N, ...) to scores (N, K).
        partition: the domains.
        signals: the teacher, live or cached.
        temperature: softens the teacher before its probabilities are summed.
    """

    assignment: Tensor
    membership_CK: Tensor | None

    def __init__(self, router: nn.Module, partition: Partition, signals: Signals, temperature: float = 2.0) -> None:
        super().__init__()
        self.router = router
        self.signals = signals
        self.temperature = temperature
        self.num_domains = partition.num_domains
        classes = partition.class_to_domain
        membership = None if classes is None else F.one_hot(torch.from_numpy(classes), self.num_domains).float()
        self.register_buffer("assignment", torch.from_numpy(partition.assignment), persistent=False)
        self.register_buffer("membership_CK", membership, persistent=False)

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the cross-entropy of the router under the domain's soft or hard label."""
        del progress
        scores = self.router(batch.inputs).float()
        domain = self.assignment[batch.index]
        if self.membership_CK is None:
            target = F.one_hot(domain, self.num_domains).float()
        else:
            target = (self.signals(batch).logits / self.temperature).softmax(dim=1) @ self.membership_CK
        loss = F.cross_entropy(scores, target)
        return {"loss": loss, "accuracy": (scores.detach().argmax(dim=1) == domain).float().mean()}
