"""The sparse layer: a router, experts, and what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from moist.moe.experts import Experts
from moist.routing import Dispatcher, SoftDispatcher, SoftRouter, SoftRouting, gate_weights, limit_capacity
from moist.types import Routing

__all__ = ["Among", "LayerFacts", "MoELayer"]

Among = Literal["all", "chosen"]


@dataclass(frozen=True)
class LayerFacts:
    """What a sparse layer did with one batch.

    Args:
        routing: the decision, over the N rows that were routed.
        expert_outputs: outputs of the experts on the same rows, (E, N, ...) of all or (K, N, ...) of those chosen; None
            where they were not asked for.
    """

    routing: Routing
    expert_outputs: Tensor | None = None


class MoELayer(nn.Module):
    """Route each row to a few of E experts and combine their answers.

    A row that no expert serves (over capacity, or chosen by none) gives zeros: put a residual connection around the
    layer. Nothing is stored; what was decided is returned.

    Args:
        router: module from rows (N, ...) to a :class:`moist.types.Routing`.
        experts: E modules from rows (n, ...) to (n, ...).
        active: mean number of experts that serve a row; None takes the router's ``top_k``, or all.
        capacity_factor: most rows an expert serves, as a multiple of an equal share; None drops nothing.
        row_dims: trailing axes that make up a row: 1 for tokens (..., D), 3 for feature maps (..., D, H, W).
    """

    def __init__(
        self,
        router: nn.Module,
        experts: Sequence[nn.Module],
        *,
        active: float | None = None,
        capacity_factor: float | None = None,
        row_dims: int = 1,
    ) -> None:
        super().__init__()
        self.router = router
        self.experts = Experts(experts, float(getattr(router, "top_k", len(experts))) if active is None else active)
        self.capacity_factor = capacity_factor
        self.row_dims = row_dims

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Routing]:
        """Return outputs (..., D') of inputs (..., D), and the routing of its N rows.

        Args:
            inputs: rows; those before the row's own axes are taken together.
            mask: bool of the rows' shape, False for padding, which is not routed and gives zeros; None routes all.
        """
        outputs, facts = self.forward_facts(inputs, mask)
        return outputs, facts.routing

    def forward_facts(
        self, inputs: Tensor, mask: Tensor | None = None, among: Among | None = None
    ) -> tuple[Tensor, LayerFacts]:
        """Return outputs as :meth:`forward`, and the facts, with outputs of ``all`` or the ``chosen`` experts if asked.

        Raises:
            ValueError: the chosen experts' outputs are asked for where choices were left out.
        """
        leading = inputs.shape[: inputs.dim() - self.row_dims]
        if isinstance(self.router, SoftRouter):
            outputs, facts = self._soft(self.router, inputs, mask, among)
            return torch.unflatten(outputs, 0, leading), facts
        rows = inputs.flatten(0, len(leading) - 1)
        if mask is None:
            outputs, facts = self._sparse(rows, among)
            return torch.unflatten(outputs, 0, leading), facts
        real = mask.flatten().nonzero().squeeze(1)
        outputs, facts = self._sparse(rows.index_select(0, real), among)
        whole = outputs.new_zeros(len(rows), *outputs.shape[1:]).index_copy(0, real, outputs)
        return torch.unflatten(whole, 0, leading), facts

    def route(self, rows: Tensor) -> Routing:
        """Return which experts serve rows (N, ...), capacity included, without running them."""
        routing: Routing = self.router(rows)
        if self.capacity_factor is not None:
            routing = limit_capacity(routing, self.capacity_factor)
        return routing

    def _sparse(self, rows: Tensor, among: Among | None) -> tuple[Tensor, LayerFacts]:
        routing = self.route(rows)
        if among == "all":
            outputs_END = torch.stack(self.experts.run_all(rows))
            return _weigh(gate_weights(routing), outputs_END), LayerFacts(routing, outputs_END)
        dispatcher = Dispatcher(routing, len(self.experts))
        if among is None and any(dispatcher.counts) and not torch.is_grad_enabled():
            return dispatcher.run(self.experts.serving(rows), rows), LayerFacts(routing)
        outputs = self.experts(dispatcher.dispatch(rows))
        chosen = dispatcher.collect(outputs).movedim(1, 0) if among == "chosen" else None
        if not any(dispatcher.counts):
            return self._nothing(rows), LayerFacts(routing, chosen)
        return dispatcher.combine(outputs), LayerFacts(routing, chosen)

    def _nothing(self, rows: Tensor) -> Tensor:
        """Return the zeros of a batch in which no row was served, or which had none."""
        one = self.experts.members[0](rows.new_zeros(1, *rows.shape[1:]))
        zeros: Tensor = one.new_zeros(len(rows), *one.shape[1:])
        return zeros

    def _soft(
        self, router: SoftRouter, inputs: Tensor, mask: Tensor | None, among: Among | None
    ) -> tuple[Tensor, LayerFacts]:
        routing: SoftRouting = router(inputs, mask)
        rows = inputs.flatten(0, -2)
        dispatcher = SoftDispatcher(routing, len(self.experts))
        parts = dispatcher.dispatch(rows)
        outputs = dispatcher.combine([member(part) for member, part in zip(self.experts.members, parts)])
        if mask is not None:
            outputs = outputs * mask.flatten().unsqueeze(-1)
        compared = None if among is None else torch.stack(self.experts.run_all(rows))
        return outputs, LayerFacts(routing, compared)


def _weigh(weights_NE: Tensor, outputs_END: Tensor) -> Tensor:
    """Return Σ_e w_ne y_en."""
    weights_EN = weights_NE.T.to(outputs_END.dtype)
    return (weights_EN.view(*weights_EN.shape, *[1] * (outputs_END.dim() - 2)) * outputs_END).sum(dim=0)
