"""Experts choose their inputs, instead of inputs their experts."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn

from moist.types import Routing, UserError

__all__ = ["ExpertChoiceRouter"]


class ExpertChoiceRouter(nn.Module):
    """Each expert takes the N · c / E inputs that score it highest, so the load is equal by construction.

    What an input gets depends on the batch that it comes in: it may be served by many experts or by none (then the
    residual carries it). So it is a router for tokens of a sequence, not for single inputs that are served alone.

    The routing lists all E experts for each input, best first; ``kept`` marks those that took it.

    Args:
        gate: module from inputs (N, ...) to logits (N, E).
        capacity_factor: c, the mean number of experts of an input, above 0 and up to E.

    Raises:
        UserError: ``capacity_factor`` is not above 0.

    Zhou et al. 2022, "Mixture-of-Experts with Expert Choice Routing" (arXiv 2202.09368), section 3.2.
    """

    def __init__(self, gate: nn.Module, capacity_factor: float = 2.0) -> None:
        super().__init__()
        if capacity_factor <= 0:
            raise UserError(f"capacity_factor must be above 0, got {capacity_factor}; the paper takes 2")
        self.gate = gate
        self.capacity_factor = capacity_factor

    def forward(self, inputs: Tensor) -> Routing:
        logits_NE = self.gate(inputs)
        num_rows, num_experts = logits_NE.shape
        probs_NE = logits_NE.softmax(dim=-1)
        taken = min(num_rows, ceil(self.capacity_factor * num_rows / num_experts))
        chosen_CE = probs_NE.topk(taken, dim=0).indices
        kept_NE = torch.zeros_like(probs_NE, dtype=torch.bool).scatter(0, chosen_CE, value=True)
        indices_NE = logits_NE.argsort(dim=-1, descending=True, stable=True)
        weights_NE, kept_NE = probs_NE.gather(-1, indices_NE), kept_NE.gather(-1, indices_NE)
        return Routing(logits_NE, indices_NE, weights_NE, kept_NE)
