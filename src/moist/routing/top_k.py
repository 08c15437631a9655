"""Softmax gates that keep the k best experts."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from moist.types import Routing

__all__ = ["Combine", "TopKRouter", "select_top_k"]

Combine = Literal["select", "renormalize", "probability"]


def select_top_k(logits_NE: Tensor, top_k: int, combine: Combine = "renormalize") -> Routing:
    """Choose the ``top_k`` experts of the largest logits.

    Args:
        logits_NE: (N, E) scores.
        top_k: experts kept per input, 1 to E.
        combine: the weights of the chosen. ``renormalize`` makes them sum to 1: at k = 1 the weight is then the
            constant 1, and no task gradient reaches the gate. ``probability`` keeps the softmax over all E (Switch),
            so the gradient arrives at any k. ``select`` gives each of the k chosen the constant weight 1 / k.

    Raises:
        ValueError: ``top_k`` is out of range.
    """
    num_experts = logits_NE.shape[-1]
    if not 1 <= top_k <= num_experts:
        raise ValueError(
            f"top_k must be between 1 and num_experts={num_experts}, got {top_k}; lower top_k or add experts"
        )
    # By the logits: far from the best, probabilities underflow to equal zeros that no longer tell which is larger.
    best_NK, indices_NK = logits_NE.topk(top_k, dim=-1)
    if combine == "renormalize":
        weights_NK = logits_NE.softmax(dim=-1).gather(-1, indices_NK)
        weights_NK = weights_NK / weights_NK.sum(dim=-1, keepdim=True)
    elif combine == "probability":
        weights_NK = (best_NK - logits_NE.logsumexp(dim=-1, keepdim=True)).exp()  # a softmax of those alone
    else:
        weights_NK = torch.full_like(best_NK, 1 / top_k)
    return Routing(logits=logits_NE, expert_indices=indices_NK, expert_weights=weights_NK)


class TopKRouter(nn.Module):
    """A gate and the choice of its ``top_k`` best experts.

    Args:
        gate: module from router inputs (N, ...) to logits (N, E).
        top_k: experts kept per input.
        combine: see :func:`select_top_k`.
    """

    def __init__(self, gate: nn.Module, top_k: int = 1, combine: Combine = "renormalize") -> None:
        super().__init__()
        self.gate = gate
        self.top_k = top_k
        self.combine: Combine = combine

    def forward(self, inputs: Tensor) -> Routing:
        return select_top_k(self.gate(inputs), self.top_k, self.combine)
