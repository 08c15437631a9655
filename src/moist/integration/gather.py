"""From the weights of E experts to one dense feed-forward layer, by the weights alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from moist.integration.feed_forward import FeedForward
from moist.types import UserError

__all__ = ["gather_average", "gather_sum", "gather_svd", "gather_top_k", "weight_norms"]

ROLES = ("up", "down", "up_bias", "down_bias", "gate", "gate_bias")


def gather_sum(experts: Sequence[FeedForward]) -> FeedForward:
    """Return the sum of every weight, of the experts' own width: Σ W_i.

    An interpretation of Xue et al. 2022 (arXiv 2201.10890), whose code is not public; so are the other gathers.
    """
    return _each_role(experts, lambda stacked: stacked.sum(dim=0))


def gather_average(experts: Sequence[FeedForward]) -> FeedForward:
    """Return the mean of every weight, of the experts' own width: Σ W_i / E. See :func:`gather_sum`."""
    return _each_role(experts, lambda stacked: stacked.mean(dim=0))


def gather_top_k(
    experts: Sequence[FeedForward], width: int | None = None, scores: Sequence[Tensor] | None = None
) -> FeedForward:
    """Keep the best hidden units of each expert, an equal number of each, side by side in one layer.

    The kept units stay what they were; the output's bias is the experts' mean. Where the width is no multiple of E, the
    first experts give one unit more.

    Args:
        experts: E layers of equal shape.
        width: H of the dense layer; None for the experts' own.
        scores: for each expert (H_e,) how much each unit matters; None for :func:`weight_norms`.

    Raises:
        UserError: the width asks for more units than there are.

    Xue et al. 2022 (arXiv 2201.10890), Top-KG, as we read it.
    """
    width = experts[0].width if width is None else width
    if not 1 <= width <= sum(expert.width for expert in experts):
        raise UserError(
            f"width must be between 1 and the experts' {sum(e.width for e in experts)} units, got {width}; change it"
        )
    scores = [weight_norms(expert) for expert in experts] if scores is None else scores
    share, rest = divmod(width, len(experts))
    kept = [each.topk(share + (number < rest)).indices.sort().values for number, each in enumerate(scores)]
    return keep_units(experts, kept)


def keep_units(experts: Sequence[FeedForward], kept: Sequence[Tensor]) -> FeedForward:
    """Return one layer of the units ``kept`` of each expert; the output's bias is the experts' mean."""

    def rows(role: str) -> Tensor | None:
        parts = [getattr(expert, role) for expert in experts]
        return None if parts[0] is None else torch.cat([part[units] for part, units in zip(parts, kept)])

    down = torch.cat([expert.down[:, units] for expert, units in zip(experts, kept)], dim=1)
    biases = [expert.down_bias for expert in experts if expert.down_bias is not None]
    up = rows("up")
    assert up is not None
    return FeedForward(
        up, down, rows("up_bias"), torch.stack(biases).mean(dim=0) if biases else None, rows("gate"), rows("gate_bias")
    )


def weight_norms(expert: FeedForward) -> Tensor:
    """Return, for each hidden unit (H,), the length of all weights that lead to it and from it, biases apart."""
    squares = expert.up.square().sum(dim=1) + expert.down.square().sum(dim=0)
    if expert.gate is not None:
        squares = squares + expert.gate.square().sum(dim=1)
    return squares.sqrt()


def gather_svd(experts: Sequence[FeedForward], rank: int | None = None) -> FeedForward:
    """Return the sum of each expert's weights cut to rank ``rank`` / E: Σ U_i S_i V_iᵀ of the largest singular values.

    A bias is a column of its matrix, that of an input which is always 1, and is cut with it.

    Args:
        experts: E layers of equal shape.
        rank: of the dense layer's matrices, at least E; None for the largest that they can have.

    Raises:
        UserError: the rank leaves nothing to each expert.

    Xue et al. 2022 (arXiv 2201.10890), SVD-KG, as we read it.
    """
    largest = min(experts[0].up.shape)
    rank = largest if rank is None else rank
    share = rank // len(experts)
    if share < 1:
        raise UserError(f"rank must be at least the number of experts, {len(experts)}, got {rank}; raise it")
    matrices: dict[str, tuple[Tensor, Tensor | None]] = {}
    for role in ("up", "down", "gate"):
        if getattr(experts[0], role) is not None:
            pairs = [(getattr(expert, role), getattr(expert, f"{role}_bias")) for expert in experts]
            cut = torch.stack([_truncated(_with_bias(*pair), share) for pair in pairs]).sum(dim=0)
            matrices[role] = (cut, None) if pairs[0][1] is None else (cut[:, :-1], cut[:, -1])
    gate, gate_bias = matrices.get("gate", (None, None))
    return FeedForward(matrices["up"][0], matrices["down"][0], matrices["up"][1], matrices["down"][1], gate, gate_bias)


def _with_bias(matrix: Tensor, bias: Tensor | None) -> Tensor:
    return matrix if bias is None else torch.cat([matrix, bias[:, None]], dim=1)


def _truncated(matrix: Tensor, rank: int) -> Tensor:
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    cut: Tensor = (left[:, :rank] * values[:rank]) @ right[:rank]
    return cut


def _each_role(experts: Sequence[FeedForward], join: Callable[[Tensor], Tensor]) -> FeedForward:
    joined: dict[str, Any] = {}
    for role in ROLES:
        parts = [getattr(expert, role) for expert in experts]
        joined[role] = None if parts[0] is None else join(torch.stack(parts))
    return FeedForward(**joined)
