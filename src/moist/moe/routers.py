"""Build a router from its settings."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from moist.moe.settings import SparseSettings
from moist.routing import (
    SWITCH_GATE_SCALE,
    BiasBalancedRouter,
    ExpertChoiceRouter,
    GShardRouter,
    LinearGate,
    NoisyTopKRouter,
    SoftRouter,
    SwitchRouter,
    TopKRouter,
)

__all__ = ["create_router"]


def create_router(settings: SparseSettings, dim: int) -> nn.Module:
    """Return a fresh router of inputs (N, D) over the settings' experts, initialised from torch's global generator."""
    return ROUTERS[settings.router](settings, dim)


def _gate(settings: SparseSettings, dim: int, scale: float = 1.0) -> LinearGate:
    return LinearGate(dim, settings.num_experts, scale=scale, jitter=settings.jitter)


def _top_k(settings: SparseSettings, dim: int) -> nn.Module:
    return TopKRouter(_gate(settings, dim), settings.top_k, settings.combine)


def _noisy_top_k(settings: SparseSettings, dim: int) -> nn.Module:
    gates = (_gate(settings, dim, scale=0.0), _gate(settings, dim, scale=0.0))
    return NoisyTopKRouter(*gates, top_k=settings.top_k)


def _gshard(settings: SparseSettings, dim: int) -> nn.Module:
    return GShardRouter(_gate(settings, dim))


def _switch(settings: SparseSettings, dim: int) -> nn.Module:
    return SwitchRouter(_gate(settings, dim, scale=SWITCH_GATE_SCALE))


def _expert_choice(settings: SparseSettings, dim: int) -> nn.Module:
    return ExpertChoiceRouter(_gate(settings, dim), settings.active_experts)


def _soft(settings: SparseSettings, dim: int) -> nn.Module:
    return SoftRouter(dim, settings.num_experts, settings.slots)


def _bias_balanced(settings: SparseSettings, dim: int) -> nn.Module:
    gate = _gate(settings, dim)
    return BiasBalancedRouter(gate, settings.num_experts, settings.top_k, settings.bias_rate, settings.combine)


ROUTERS: dict[str, Callable[[SparseSettings, int], nn.Module]] = {
    "top-k": _top_k,
    "noisy-top-k": _noisy_top_k,
    "gshard": _gshard,
    "switch": _switch,
    "expert-choice": _expert_choice,
    "soft": _soft,
    "bias-balanced": _bias_balanced,
}
