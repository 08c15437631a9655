"""Balance without a loss: a bias that moves the choice and never the weights."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from moist.types import Routing

__all__ = ["BiasBalancedRouter"]


class BiasBalancedRouter(nn.Module):
    """Choose the ``top_k`` largest of s_e + b_e, weight them by s_e alone, s = sigmoid(gate).

    :meth:`rebalance` moves b against the load after each batch, so no balance loss has to pull the gate away from what
    serves the task. Between two calls the router is a function of its inputs.

    Args:
        gate: module from inputs (N, ...) to logits (N, E).
        num_experts: E.
        top_k: experts kept per input.
        rate: u, the step of b.
        combine: ``probability`` weights by s_e, which carries the task's gradient at any k; ``renormalize`` makes the
            weights sum to 1.

    Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts" (arXiv 2408.15664),
    algorithm 1.
    """

    bias_E: Tensor

    def __init__(
        self,
        gate: nn.Module,
        num_experts: int,
        top_k: int = 2,
        rate: float = 1e-3,
        combine: Literal["probability", "renormalize"] = "probability",
    ) -> None:
        super().__init__()
        self.gate = gate
        self.top_k = top_k
        self.rate = rate
        self.combine = combine
        self.register_buffer("bias_E", torch.zeros(num_experts))

    def forward(self, inputs: Tensor) -> Routing:
        logits_NE = self.gate(inputs)
        num_experts = logits_NE.shape[-1]
        if not 1 <= self.top_k <= num_experts:
            raise ValueError(
                f"top_k must be between 1 and num_experts={num_experts}, got {self.top_k}; lower top_k or add experts"
            )
        scores_NE = logits_NE.sigmoid()
        indices_NK = (scores_NE + self.bias_E).topk(self.top_k, dim=-1).indices
        weights_NK = scores_NE.gather(-1, indices_NK)
        if self.combine == "renormalize":
            weights_NK = weights_NK / weights_NK.sum(dim=-1, keepdim=True)
        return Routing(logits_NE, indices_NK, weights_NK)

    @torch.no_grad()
    def rebalance(self, routing: Routing) -> None:
        """Raise the bias of experts that served less than this batch's mean, lower the others': b += u sign(c̄ - c).

        Args:
            routing: what the router decided for the batch.
        """
        counts_E = torch.bincount(routing.expert_indices.flatten(), minlength=len(self.bias_E)).to(self.bias_E.dtype)
        self.bias_E += self.rate * (counts_E.mean() - counts_E).sign()
