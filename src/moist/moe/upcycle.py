"""Sparse upcycling: a trained dense block becomes experts that start as its copies."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from moist.types import UserError

__all__ = ["carry_optimizer_state", "upcycle"]


def upcycle(dense: nn.Module, num_experts: int, noise: float = 0.0) -> list[nn.Module]:
    """Return E experts, each a copy of a trained dense block.

    Behind any router whose weights sum to 1 they give what the dense block gave.

    Args:
        dense: the block to copy, as :func:`moist.moe.mlp_expert` builds it or any other.
        num_experts: E.
        noise: standard deviation of normal noise on every weight, as a multiple of that of the weight's own entries; it
            lets experts part sooner, and the outputs are then only close.

    Raises:
        UserError: the noise is below 0.

    Komatsuzaki et al. 2022, "Sparse Upcycling" (arXiv 2212.05055), section 3.
    """
    if noise < 0:
        raise UserError(f"noise must be at least 0, got {noise}; 0.01 is a little")
    experts = [copy.deepcopy(dense) for _ in range(num_experts)]
    if noise:
        with torch.no_grad():
            for expert in experts:
                for parameter in expert.parameters():
                    spread = parameter.std() if parameter.numel() > 1 else parameter.abs().mean()
                    parameter.add_(noise * spread * torch.randn_like(parameter))
    return experts


def carry_optimizer_state(
    dense: torch.optim.Optimizer,
    sparse: torch.optim.Optimizer,
    origins: Mapping[nn.Parameter, nn.Parameter],
) -> None:
    """Give parameters of an upcycled network the optimiser state (moments, steps) of those that they were copied from.

    Args:
        dense: the optimiser that trained the dense network.
        sparse: a fresh optimiser of the same class over the sparse network.
        origins: sparse parameter to dense parameter; one that is missing, such as a router's, starts without a state.

    Raises:
        UserError: the optimisers are of different classes.

    Komatsuzaki et al. 2022 (arXiv 2212.05055), section 3: done for vision, not for language.
    """
    if type(dense) is not type(sparse):
        raise UserError(
            f"both optimisers must be of one class, got {type(dense).__name__} and {type(sparse).__name__}; "
            "build the second like the first"
        )
    for parameter, origin in origins.items():
        if origin in dense.state:
            sparse.state[parameter] = {name: _copied(value, parameter) for name, value in dense.state[origin].items()}


def _copied(value: object, parameter: nn.Parameter) -> object:
    if isinstance(value, Tensor) and value.shape == parameter.shape:
        # Laid out in memory as the parameter is: torch's fused optimisers read both as they lie, and do not compare.
        return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
    return value.clone() if isinstance(value, Tensor) else copy.copy(value)
