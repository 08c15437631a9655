"""What a routing says of its batch, as tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from moist.types import Routing

__all__ = ["expert_load", "gate_weights", "overflow", "unserved"]


def gate_weights(routing: Routing) -> Tensor:
    """Return the weight of every expert in every row's combination: (N, E), 0 where it was not chosen or not kept."""
    weights_NK = routing.expert_weights
    if routing.kept is not None:
        weights_NK = weights_NK * routing.kept
    return torch.zeros_like(routing.logits, dtype=weights_NK.dtype).scatter(1, routing.expert_indices, weights_NK)


def expert_load(routing: Routing) -> Tensor:
    """Return the share of the carried-out choices that each expert serves: (E,), summing to 1."""
    num_experts = routing.logits.shape[-1]
    chosen = routing.expert_indices if routing.kept is None else routing.expert_indices[routing.kept]
    counts_E = torch.bincount(chosen.flatten(), minlength=num_experts).to(routing.expert_weights.dtype)
    return counts_E / counts_E.sum().clamp_min(1)


def overflow(routing: Routing) -> Tensor:
    """Return the share of choices that were not carried out."""
    if routing.kept is None:
        return routing.expert_weights.new_zeros(())
    return 1 - routing.kept.to(routing.expert_weights.dtype).mean()


def unserved(routing: Routing) -> Tensor:
    """Return the share of rows that no expert serves; the residual connection alone carries them."""
    if routing.kept is None:
        return routing.expert_weights.new_zeros(())
    return (~routing.kept.any(dim=1)).to(routing.expert_weights.dtype).mean()
