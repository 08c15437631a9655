"""Sparse layers: experts behind a router, inside any network."""

from moist.moe.auxiliary import router_loss
from moist.moe.experts import Experts, GatedMLP, conv_expert, mlp_expert
from moist.moe.inference import pack_for_inference
from moist.moe.layer import Among, LayerFacts, MoELayer
from moist.moe.probing import only_expert
from moist.moe.routers import create_router
from moist.moe.settings import BalanceSettings, RouterKind, SparseSettings
from moist.moe.upcycle import carry_optimizer_state, upcycle

__all__ = [
    "Among",
    "BalanceSettings",
    "Experts",
    "GatedMLP",
    "LayerFacts",
    "MoELayer",
    "RouterKind",
    "SparseSettings",
    "carry_optimizer_state",
    "conv_expert",
    "create_router",
    "mlp_expert",
    "only_expert",
    "pack_for_inference",
    "router_loss",
    "upcycle",
]
