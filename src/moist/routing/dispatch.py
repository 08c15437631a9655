"""Send each input to its chosen experts only, and put the answers back in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from moist.types import Routing

__all__ = ["Dispatcher"]


class Dispatcher:
    """Group the rows of a batch by expert; nothing is padded and no expert runs without a row.

    Choices that the routing did not keep are left out: they add nothing to the combination.

    Args:
        routing: the router's decision for N inputs.
        num_experts: E; by default the width of the routing's logits.
    """

    def __init__(self, routing: Routing, num_experts: int | None = None) -> None:
        self.num_experts = num_experts or routing.logits.shape[-1]
        self._num_rows, self._top_k = routing.expert_indices.shape
        flat = routing.expert_indices.flatten()
        if routing.kept is not None:
            # What is not kept sorts behind all experts, and is cut off there.
            flat = flat.masked_fill(~routing.kept.flatten(), self.num_experts)
        self._counts: list[int] = torch.bincount(flat, minlength=self.num_experts)[: self.num_experts].tolist()
        order = flat.argsort(stable=True)[: sum(self._counts)]
        self._order = order
        self._rows = order // self._top_k if self._top_k > 1 else order
        self._weights = routing.expert_weights.flatten()
        self._whole = len(order) == len(flat)
        self._places = _inverse(order) if self._whole else order

    @property
    def counts(self) -> list[int]:
        """Rows that each of the E experts serves."""
        return self._counts

    def rows(self) -> list[Tensor]:
        """Return, for each expert, the (n_e,) positions of its rows in the batch."""
        return list(torch.split(self._rows, self._counts))

    def dispatch(self, inputs: Tensor) -> list[Tensor]:
        """Return, for each expert, its rows of ``inputs`` (N, ...) as (n_e, ...)."""
        sent = _send(inputs, self._rows, self._places, self._top_k) if self._whole else inputs[self._rows]
        return list(torch.split(sent, self._counts))

    def collect(self, outputs: Sequence[Tensor | None]) -> Tensor:
        """Return the experts' outputs unweighted, each at the (row, choice) that it answers: (N, K, ...).

        Args:
            outputs: for each expert (n_e, ...), or None where it served no row.

        Raises:
            ValueError: the routing left choices out, which have no output.
        """
        if not self._whole:
            raise ValueError("collect needs every choice carried out, got choices left out; route without a capacity")
        stacked = torch.cat([output for output in outputs if output is not None])
        collected = _reorder(stacked, self._places, self._order)
        return torch.unflatten(collected, 0, (self._num_rows, self._top_k))

    def combine(self, outputs: Sequence[Tensor | None]) -> Tensor:
        """Return the weighted sum (N, ...) of the experts' outputs.

        Args:
            outputs: for each expert (n_e, ...), or None where it served no row.

        Raises:
            ValueError: no expert gave an output.
        """
        present = [output for output in outputs if output is not None and output.shape[0]]
        if not present:
            raise ValueError(
                "combine needs the output of at least one expert, got none; dispatch a batch of one or more rows"
            )
        stacked = torch.cat(present)
        if self._whole:
            collected = _reorder(stacked, self._places, self._order)
            return self._weighted_sum(collected)
        weights = _beside(self._weights[self._order], stacked)
        combined = stacked.new_zeros(self._num_rows, *stacked.shape[1:])
        return combined.index_add(0, self._rows, stacked * weights)

    def _weighted_sum(self, collected: Tensor) -> Tensor:
        weighted = collected * _beside(self._weights, collected)
        if self._top_k == 1:
            return weighted
        return torch.unflatten(weighted, 0, (self._num_rows, self._top_k)).sum(dim=1)


def _inverse(order: Tensor) -> Tensor:
    """Return where each choice (N · K) lies in the sorted order."""
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    return places


def _beside(weights: Tensor, values: Tensor) -> Tensor:
    return weights.to(values.dtype).view(-1, *[1] * (values.dim() - 1))


def _reorder(values: Tensor, places: Tensor, order: Tensor) -> Tensor:
    reordered: Tensor = _Reorder.apply(values, places, order)  # type: ignore[no-untyped-call]
    return reordered


def _send(inputs: Tensor, rows: Tensor, places: Tensor, top_k: int) -> Tensor:
    sent: Tensor = _Send.apply(inputs, rows, places, top_k)  # type: ignore[no-untyped-call]
    return sent


class _Reorder(torch.autograd.Function):
    """Rows in the order ``places``, whose inverse is ``order``.

    The gradient of a permutation is the inverse permutation: a read, where torch's own backward pass of an index adds
    row by row into zeros.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, places: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return values.index_select(0, places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (order,) = ctx.saved_tensors
        return grad.index_select(0, order), None, None


class _Send(torch.autograd.Function):
    """Each row once for each of its ``top_k`` choices, in the order of the experts; see :class:`_Reorder`."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, rows: Tensor, places: Tensor, top_k: int) -> Tensor:
        ctx.save_for_backward(places)
        ctx.top_k = top_k
        return inputs.index_select(0, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (places,) = ctx.saved_tensors
        grad = grad.index_select(0, places)
        if ctx.top_k > 1:
            grad = torch.unflatten(grad, 0, (-1, ctx.top_k)).sum(dim=1)
        return grad, None, None, None
