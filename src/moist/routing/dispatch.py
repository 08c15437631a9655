"""Send each input to its chosen experts only, and put the answers back in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from moist.types import Routing

__all__ = ["Dispatcher"]

NOTHING = "combine needs the output of at least one expert, got none; dispatch a batch of one or more rows"


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
        self._rows = order // self._top_k if self._top_k > 1 else order
        self._weights = routing.expert_weights.flatten()
        self._whole = len(order) == len(flat)
        self._choices = torch.split(order, self._counts)

    @property
    def counts(self) -> list[int]:
        """Rows that each of the E experts serves."""
        return self._counts

    def rows(self) -> list[Tensor]:
        """Return, for each expert, the (n_e,) positions of its rows in the batch."""
        return list(torch.split(self._rows, self._counts))

    def dispatch(self, inputs: Tensor) -> list[Tensor]:
        """Return, for each expert, its rows of ``inputs`` (N, ...) as (n_e, ...)."""
        if not self._whole:
            return list(torch.split(inputs[self._rows], self._counts))
        return list(_Send.apply(inputs, self._choices, self._top_k))  # type: ignore[no-untyped-call]

    def collect(self, outputs: Sequence[Tensor | None]) -> Tensor:
        """Return the experts' outputs unweighted, each at the (row, choice) that it answers: (N, K, ...).

        Args:
            outputs: for each expert (n_e, ...), or None where it served no row.

        Raises:
            ValueError: the routing left choices out, which have no output.
        """
        if not self._whole:
            raise ValueError("collect needs every choice carried out, got choices left out; route without a capacity")
        present = self._present(outputs)
        return torch.unflatten(self._restore(present), 0, (self._num_rows, self._top_k))

    def combine(self, outputs: Sequence[Tensor | None]) -> Tensor:
        """Return the weighted sum (N, ...) of the experts' outputs.

        Args:
            outputs: for each expert (n_e, ...), or None where it served no row.

        Raises:
            ValueError: no expert gave an output.
        """
        present = self._present(outputs)
        if self._whole:
            answers = self._restore(present)
            return self._sum_of_choices(answers * _beside(self._weights, answers))
        stacked = torch.cat([output * _beside(self._weights[choices], output) for choices, output in present])
        combined = stacked.new_zeros(self._num_rows, *stacked.shape[1:])
        return combined.index_add(0, self._rows, stacked)

    @torch.no_grad()
    def run(self, members: Sequence[Callable[[Tensor], Tensor]], inputs: Tensor) -> Tensor:
        """Return what dispatch, the experts and combine give, without a gradient: one expert's rows at a time.

        What an expert reads and writes stays in the processor's cache, and nothing is copied twice.

        Args:
            members: the E experts.
            inputs: (N, ...).

        Raises:
            ValueError: no expert serves a row.
        """
        answers: Tensor | None = None
        for member, choices in zip(members, self._choices):
            if not len(choices):
                continue
            output = member(inputs.index_select(0, choices // self._top_k if self._top_k > 1 else choices))
            if answers is None:
                size = (self._num_rows * self._top_k, *output.shape[1:])
                answers = output.new_empty(size) if self._whole else output.new_zeros(size)
            _write(answers, choices, output)
        if answers is None:
            raise ValueError(NOTHING)
        return self._sum_of_choices(answers.mul_(_beside(self._weights, answers)))

    def _present(self, outputs: Sequence[Tensor | None]) -> list[tuple[Tensor, Tensor]]:
        """Return the outputs that are there, each beside the (n_e,) choices that it answers."""
        present = [
            (choices, output) for choices, output in zip(self._choices, outputs) if output is not None and len(output)
        ]
        if not present:
            raise ValueError(NOTHING)
        return present

    def _restore(self, present: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the outputs in the order of the choices: (N · K, ...)."""
        choices, outputs = zip(*present)
        restored: Tensor = _Restore.apply(choices, *outputs)  # type: ignore[no-untyped-call]
        return restored

    def _sum_of_choices(self, answers: Tensor) -> Tensor:
        if self._top_k == 1:
            return answers
        each = torch.unflatten(answers, 0, (self._num_rows, self._top_k))
        if self._top_k == 2:
            first, second = each.unbind(dim=1)
            return first + second  # a fifth of the time of a sum, to the same bits
        return each.sum(dim=1)


def _beside(weights: Tensor, values: Tensor) -> Tensor:
    return weights.to(values.dtype).view(-1, *[1] * (values.dim() - 1))


def _write(whole: Tensor, positions: Tensor, rows: Tensor) -> None:
    """Write rows to their places in ``whole``.

    torch copies such rows number by number: in bfloat16 four are moved as one, which takes two thirds of the time.
    """
    if rows.dtype == torch.bfloat16 and rows.device.type == "cpu" and _in_fours(whole) and _in_fours(rows):
        whole, rows = whole.view(torch.float64), rows.view(torch.float64)
    whole[positions] = rows


def _in_fours(rows: Tensor) -> bool:
    return rows.is_contiguous() and rows.shape[-1] % 4 == 0 and rows.storage_offset() % 4 == 0


class _Send(torch.autograd.Function):
    """Rows for each expert, where every row is sent for each of its choices.

    The gradient of each choice is then known and written once, to its place; torch's own backward pass of an index
    would add row by row into zeros.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, choices: Sequence[Tensor], top_k: int) -> tuple[Tensor, ...]:
        ctx.choices, ctx.top_k = choices, top_k
        return tuple(inputs.index_select(0, each // top_k if top_k > 1 else each) for each in choices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        total = sum(len(grad) for grad in grads)
        whole = grads[0].new_empty(total, *grads[0].shape[1:])
        for choices, grad in zip(ctx.choices, grads):
            _write(whole, choices, grad)
        if ctx.top_k > 1:
            whole = torch.unflatten(whole, 0, (-1, ctx.top_k)).sum(dim=1)
        return whole, None, None


class _Restore(torch.autograd.Function):
    """The experts' rows, each at the place of its choice; the inverse of :class:`_Send` at one choice a row."""

    @staticmethod
    def forward(ctx: Any, choices: Sequence[Tensor], *outputs: Tensor) -> Tensor:
        ctx.choices = choices
        whole = outputs[0].new_empty(sum(len(output) for output in outputs), *outputs[0].shape[1:])
        for each, output in zip(choices, outputs):
            _write(whole, each, output)
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(grad.index_select(0, each) for each in ctx.choices)
