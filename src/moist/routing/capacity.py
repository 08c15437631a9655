"""Capacity: how many rows an expert may serve, and what becomes of the rest."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import torch

from moist.types import Routing, UserError

__all__ = ["expert_capacity", "limit_capacity"]


def expert_capacity(num_rows: int, top_k: int, num_experts: int, capacity_factor: float) -> int:
    """Return ⌈capacity_factor · N · K / E⌉, the choices that one expert may serve.

    Raises:
        UserError: ``capacity_factor`` is not above 0.

    Fedus, Zoph and Shazeer 2021 (arXiv 2101.03961), equation 3.
    """
    if capacity_factor <= 0:
        raise UserError(f"capacity_factor must be above 0, got {capacity_factor}; the papers take 1 to 2")
    return ceil(capacity_factor * num_rows * top_k / num_experts)


def limit_capacity(routing: Routing, capacity_factor: float) -> Routing:
    """Keep no more choices of an expert than its capacity: first choices before second ones, then earlier rows first.

    What overflows is marked in ``kept``, so it can be counted; the residual connection around the layer carries it.

    Args:
        routing: a router's decision for N rows.
        capacity_factor: see :func:`expert_capacity`.

    Lepikhin et al. 2020 (arXiv 2006.16668), algorithm 1.
    """
    num_rows, top_k = routing.expert_indices.shape
    num_experts = routing.logits.shape[-1]
    capacity = expert_capacity(num_rows, top_k, num_experts, capacity_factor)
    by_choice = routing.expert_indices.T.flatten()
    if routing.kept is not None:
        by_choice = by_choice.masked_fill(~routing.kept.T.flatten(), num_experts)
    order = by_choice.argsort(stable=True)
    counts = torch.bincount(by_choice, minlength=num_experts + 1)
    first = counts.cumsum(0) - counts
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - first[by_choice[order]]
    kept = (place < capacity) & (by_choice < num_experts)
    return replace(routing, kept=kept.view(top_k, num_rows).T)
