"""Sparse layers: experts behind a router, inside any network."""

from moist.moe.auxiliary import router_loss
from moist.moe.experts import Experts, GatedMLP, conv_expert, mlp_expert
from moist.moe.layer import Among, LayerFacts, MoELayer
from moist.moe.routers import create_router
from moist.moe.settings import BalanceSettings, RouterKind, SparseSettings

__all__ = [
    "Among",
    "BalanceSettings",
    "Experts",
    "GatedMLP",
    "LayerFacts",
    "MoELayer",
    "RouterKind",
    "SparseSettings",
    "conv_expert",
    "create_router",
    "mlp_expert",
    "router_loss",
]
