"""The weights of one feed-forward layer, plain or gated, as tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moist.moe import GatedMLP
from moist.types import UserError

__all__ = ["Activation", "FeedForward", "activation_of", "feed_forward_of", "load_feed_forward"]

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FeedForward:
    """x ↦ down · h + down_bias, where h = φ(up · x + up_bias), or φ(gate · x + gate_bias) ⊙ (up · x + up_bias).

    Args:
        up: (H, D).
        down: (D', H).
        up_bias: (H,) or None.
        down_bias: (D',) or None.
        gate: (H, D) of a gated layer, else None.
        gate_bias: (H,) or None.
    """

    up: Tensor
    down: Tensor
    up_bias: Tensor | None = None
    down_bias: Tensor | None = None
    gate: Tensor | None = None
    gate_bias: Tensor | None = None

    @property
    def width(self) -> int:
        """Hidden units."""
        return self.up.shape[0]

    def hidden(self, inputs_ND: Tensor, activation: Activation) -> Tensor:
        """Return the hidden units' activations (N, H)."""
        raised = F.linear(inputs_ND, self.up, self.up_bias)
        if self.gate is None:
            return activation(raised)
        return activation(F.linear(inputs_ND, self.gate, self.gate_bias)) * raised

    def __call__(self, inputs_ND: Tensor, activation: Activation) -> Tensor:
        """Return the outputs (N, D')."""
        return F.linear(self.hidden(inputs_ND, activation), self.down, self.down_bias)


def feed_forward_of(module: nn.Module) -> FeedForward:
    """Return the weights of an expert or of a dense feed-forward layer, without gradients.

    Raises:
        UserError: the module is neither a gated MLP nor linear, activation, linear.
    """
    layers = _linear_layers(module)
    up, down, gate = layers["up"], layers["down"], layers.get("gate")
    return FeedForward(
        up.weight.detach(),
        down.weight.detach(),
        _bias(up),
        _bias(down),
        None if gate is None else gate.weight.detach(),
        None if gate is None else _bias(gate),
    )


def activation_of(module: nn.Module) -> Activation:
    """Return φ of an expert, without its dropout."""
    if isinstance(module, GatedMLP):
        return F.silu
    middle = module[1] if isinstance(module, nn.Sequential) else module
    phi: nn.Module = middle[0] if isinstance(middle, nn.Sequential) else middle
    return phi


@torch.no_grad()
def load_feed_forward(module: nn.Module, weights: FeedForward) -> None:
    """Copy weights into a feed-forward layer of the same shape.

    Raises:
        UserError: as :func:`feed_forward_of`.
    """
    for role, layer in _linear_layers(module).items():
        layer.weight.copy_(getattr(weights, role))
        bias = getattr(weights, f"{role}_bias")
        if layer.bias is not None and bias is not None:
            layer.bias.copy_(bias)


def _linear_layers(module: nn.Module) -> dict[str, nn.Linear]:
    if isinstance(module, GatedMLP):
        return {"up": module.up, "down": module.down, "gate": module.gate}
    if isinstance(module, nn.Sequential) and len(module) == 3:
        up, down = module[0], module[2]
        if isinstance(up, nn.Linear) and isinstance(down, nn.Linear):
            return {"up": up, "down": down}
    raise UserError(
        f"integration takes experts of linear layers, plain or gated MLPs, got {type(module).__name__}; "
        "convolutional experts can not be gathered"
    )


def _bias(layer: nn.Linear) -> Tensor | None:
    bias: Tensor | None = layer.bias
    return None if bias is None else bias.detach()
