"""Routers and dispatch, shared by mixtures of whole specialists and by sparse layers."""

from moist.routing.bias_balance import BiasBalancedRouter
from moist.routing.capacity import expert_capacity, limit_capacity
from moist.routing.dispatch import Dispatcher
from moist.routing.expert_choice import ExpertChoiceRouter
from moist.routing.facts import expert_load, gate_weights, overflow, unserved
from moist.routing.gate import LinearGate
from moist.routing.gshard import GShardRouter
from moist.routing.noisy_top_k import NoisyTopKRouter, smooth_load
from moist.routing.soft import SoftDispatcher, SoftRouter, SoftRouting
from moist.routing.switch import SWITCH_GATE_SCALE, SwitchRouter
from moist.routing.top_k import Combine, TopKRouter, select_top_k

__all__ = [
    "SWITCH_GATE_SCALE",
    "BiasBalancedRouter",
    "Combine",
    "Dispatcher",
    "ExpertChoiceRouter",
    "GShardRouter",
    "LinearGate",
    "NoisyTopKRouter",
    "SoftDispatcher",
    "SoftRouter",
    "SoftRouting",
    "SwitchRouter",
    "TopKRouter",
    "expert_capacity",
    "expert_load",
    "gate_weights",
    "limit_capacity",
    "overflow",
    "select_top_k",
    "smooth_load",
    "unserved",
]
