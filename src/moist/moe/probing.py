"""Ask one expert of a sparse layer to serve everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from moist.moe.layer import MoELayer
from moist.types import Routing

__all__ = ["only_expert"]


class _FixedRouter(nn.Module):
    """Sends all rows to one expert, with the whole weight that the real router would have given away."""

    def __init__(self, router: nn.Module, expert: int) -> None:
        super().__init__()
        self.router = router
        self.expert = expert

    def forward(self, rows: Tensor) -> Routing:
        routing: Routing = self.router(rows)
        weights_NK = routing.expert_weights if routing.kept is None else routing.expert_weights * routing.kept
        indices = torch.full_like(routing.expert_indices[:, :1], self.expert)
        return Routing(routing.logits, indices, weights_NK.sum(dim=1, keepdim=True))


@contextmanager
def only_expert(layer: MoELayer, expert: int) -> Iterator[None]:
    """Let ``expert`` alone serve every row of ``layer``, without a capacity, until the block is left.

    Args:
        layer: a sparse layer that routes rows one by one, not softly.
        expert: its number, from 0.
    """
    router, capacity_factor = layer.router, layer.capacity_factor
    layer.router, layer.capacity_factor = _FixedRouter(router, expert), None
    try:
        yield
    finally:
        layer.router, layer.capacity_factor = router, capacity_factor
