"""Soft routing: every slot of every expert reads a mean of all tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from moist.types import Routing

__all__ = ["SoftDispatcher", "SoftRouter", "SoftRouting"]


@dataclass(frozen=True)
class SoftRouting(Routing):
    """A soft decision: the routing lists all E experts of each token, weighted by what it takes of their slots.

    Args:
        dispatch_GLS: (G, L, S) share of each token in each slot; over the tokens of a group it sums to 1.
        combine_GLS: (G, L, S) share of each slot in each token's output; over the slots it sums to 1.
    """

    dispatch_GLS: Tensor = field(kw_only=True)
    combine_GLS: Tensor = field(kw_only=True)


class SoftRouter(nn.Module):
    """Route softly within groups of tokens: a sequence, or the patches of an image.

    Nothing is dropped and all is differentiable. An expert reads mixtures of a group's tokens, so a token's output
    depends on its group; rows (N, D) without groups form a single one, so that an output depends on the whole batch.

    Args:
        dim: D.
        num_experts: E.
        slots_per_expert: P; there are S = E · P slots a group.

    Puigcerver et al. 2023, "From Sparse to Soft Mixtures of Experts" (arXiv 2308.00951), equations 1 and 2.
    """

    def __init__(self, dim: int, num_experts: int, slots_per_expert: int = 1) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.slots = nn.Parameter(torch.randn(num_experts * slots_per_expert, dim) * dim**-0.5)

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> SoftRouting:
        """Route tokens (G, L, D), or (N, D) as one group.

        Args:
            inputs: the tokens.
            mask: (G, L) bool, False at padding, which no slot reads; None where there is none.
        """
        grouped = inputs if inputs.dim() == 3 else inputs.unsqueeze(0)
        logits_GLS = grouped.to(torch.promote_types(grouped.dtype, torch.float32)) @ self.slots.T
        hidden = logits_GLS if mask is None else logits_GLS.masked_fill(~mask.unsqueeze(-1), -torch.inf)
        combine_GLS = logits_GLS.softmax(dim=2)
        weights_NE = torch.unflatten(combine_GLS.flatten(0, 1), -1, (self.num_experts, -1)).sum(dim=-1)
        logits_NE = torch.unflatten(logits_GLS.flatten(0, 1), -1, (self.num_experts, -1)).logsumexp(dim=-1)
        weights_NE, indices_NE = weights_NE.sort(dim=-1, descending=True, stable=True)
        return SoftRouting(
            logits_NE, indices_NE, weights_NE, dispatch_GLS=hidden.softmax(dim=1), combine_GLS=combine_GLS
        )


class SoftDispatcher:
    """Mix tokens into slots, and the slots' outputs back into tokens.

    Args:
        routing: the router's decision.
        num_experts: E.
    """

    def __init__(self, routing: SoftRouting, num_experts: int) -> None:
        self.routing = routing
        self.num_experts = num_experts

    def dispatch(self, inputs: Tensor) -> list[Tensor]:
        """Return, for each expert, its slots (G · P, D) of tokens (G · L, D)."""
        mixing = self.routing.dispatch_GLS.to(inputs.dtype)
        grouped = inputs.view(*mixing.shape[:2], -1)
        slots = torch.einsum("gls,gld->sgd", mixing, grouped)
        return [part.flatten(0, 1) for part in slots.chunk(self.num_experts)]

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the tokens' outputs (G · L, D') of each expert's slots (G · P, D')."""
        mixing = self.routing.combine_GLS
        groups = mixing.shape[0]
        slots = torch.cat([torch.unflatten(output, 0, (-1, groups)) for output in outputs])
        return torch.einsum("gls,sgd->gld", mixing.to(slots.dtype), slots).flatten(0, 1)
