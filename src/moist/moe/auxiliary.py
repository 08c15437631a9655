"""The losses of a router, computed from what it returned."""

from __future__ import annotations

from torch import Tensor

from moist.losses import importance_loss, load_balancing_loss, load_loss, router_z_loss
from moist.moe.settings import SparseSettings
from moist.routing import gate_weights
from moist.types import Routing

__all__ = ["router_loss"]


def router_loss(routing: Routing, settings: SparseSettings) -> Tensor:
    """Return the weighted sum of the losses that ``settings.balance`` asks for.

    The balancing loss is left out where the router balances itself. For GShard it counts first choices alone.

    Args:
        routing: what the router decided.
        settings: the layer's.

    Lepikhin et al. 2020 (arXiv 2006.16668), algorithm 1; the others are cited at :mod:`moist.losses`.
    """
    weights = settings.balance
    loss = routing.logits.new_zeros(())
    if weights.load_balancing and not settings.balances_itself:
        chosen = routing.expert_indices[:, :1] if settings.router == "gshard" else routing.expert_indices
        loss = loss + weights.load_balancing * load_balancing_loss(routing.logits.softmax(dim=-1), chosen)
    if weights.importance:
        loss = loss + weights.importance * importance_loss(gate_weights(routing))
    if weights.load and routing.load is not None:
        loss = loss + weights.load * load_loss(routing.load)
    if weights.z:
        loss = loss + weights.z * router_z_loss(routing.logits)
    return loss
