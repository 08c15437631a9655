"""The router of GShard: two experts, the second by chance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moist.routing.top_k import select_top_k
from moist.types import Routing

__all__ = ["GShardRouter"]


class GShardRouter(nn.Module):
    """The two best experts; in training the second is kept with probability min(1, 2 g_2), g_1 + g_2 = 1.

    A second expert of little weight is not worth its place in the expert's capacity. In evaluation both are kept.

    Args:
        gate: module from inputs (N, ...) to logits (N, E).

    Lepikhin et al. 2020 (arXiv 2006.16668), algorithm 1.
    """

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, inputs: Tensor) -> Routing:
        routing = select_top_k(self.gate(inputs), 2)
        if not self.training:
            return routing
        second_N = routing.expert_weights[:, 1]
        kept_NK = torch.ones_like(routing.expert_indices, dtype=torch.bool)
        kept_NK[:, 1] = torch.rand_like(second_N) < 2 * second_N
        return Routing(routing.logits, routing.expert_indices, routing.expert_weights, kept_NK)
