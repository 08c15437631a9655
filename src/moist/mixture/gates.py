"""Gates: build the one that the settings ask for, and start it from what is known already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from moist.data import InputShape
from moist.mixture.pooling import pool_features
from moist.mixture.settings import RouterSettings
from moist.students import StudentSettings, create_student
from moist.types import UserError

__all__ = ["TrunkGate", "build_gate", "start_gate_from_centres", "start_gate_from_head"]


class _Gate(NamedTuple):
    """The student that serves as a gate on inputs, and the kinds of inputs that it reads."""

    family: Literal["resnet", "mlp", "bag"]
    depth: int
    inputs: tuple[str, ...]


GATES = {
    "linear": _Gate("mlp", 0, ("tabular", "vision")),
    "mlp": _Gate("mlp", 1, ("tabular", "vision")),
    "cnn": _Gate("resnet", 1, ("vision",)),
    "bag": _Gate("bag", 0, ("text",)),
}


class TrunkGate(nn.Module):
    """Score specialists from the trunk's features, averaged over space or words where they have such an axis.

    Args:
        features: (N, D), (N, D, H, W), or (N, L, D + 1) of texts, whose last channel is 1 at real words; a few of them,
            to know D.
        num_domains: K.
        hidden: units of a hidden layer; None for none.
    """

    def __init__(self, features: Tensor, num_domains: int, hidden: int | None) -> None:
        super().__init__()
        num_features = pool_features(features).shape[1]
        if hidden is None:
            self.layers: nn.Module = nn.Linear(num_features, num_domains)
        else:
            self.layers = nn.Sequential(nn.Linear(num_features, hidden), nn.ReLU(), nn.Linear(hidden, num_domains))

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.layers(pool_features(features))
        return result


def build_gate(settings: RouterSettings, shape: InputShape, num_domains: int, features: Tensor) -> nn.Module:
    """Build the gate.

    Args:
        settings: what kind, and what it reads.
        shape: what inputs look like.
        num_domains: K.
        features: (N, ...) the trunk's features of a few inputs.

    Raises:
        UserError: the kind does not suit what the gate reads.
    """
    if settings.reads == "trunk":
        if settings.kind not in ("linear", "mlp"):
            raise UserError(
                f"a router that reads trunk features is 'linear' or 'mlp', got {settings.kind!r}; "
                "set mixture.router.kind=linear or mixture.router.reads=inputs"
            )
        return TrunkGate(features, num_domains, settings.width if settings.kind == "mlp" else None)
    suits = [kind for kind, gate in GATES.items() if shape.kind in gate.inputs]
    if settings.kind not in suits:
        raise UserError(
            f"a router that reads {shape.kind} inputs is of kind {' or '.join(suits)}, got {settings.kind!r}; set "
            f"mixture.router.kind={suits[0]}"
        )
    gate = GATES[settings.kind]
    return create_student(
        StudentSettings(family=gate.family, width=settings.width, depth=gate.depth), shape, num_domains
    )


def start_gate_from_centres(gate: nn.Module, centres_KD: Tensor, variance: float) -> None:
    """Start a linear gate on trunk features from K centres, so that each specialist begins with a region of its own.

    The gate's scores become the log posterior of equal spherical Gaussians at the centres; other gates are left alone.

    Args:
        gate: a gate from :func:`build_gate`.
        centres_KD: (K, D) centres of clusters of pooled trunk features.
        variance: of the features around their centre, per dimension.

    Royer et al. 2022, "Revisiting Single-gated Mixtures of Experts" (arXiv 2304.05497): a gate from a clustering.
    """
    if not isinstance(gate, TrunkGate) or not isinstance(gate.layers, nn.Linear):
        return
    with torch.no_grad():
        gate.layers.weight.copy_(centres_KD / variance)
        gate.layers.bias.copy_(-centres_KD.square().sum(dim=1) / (2 * variance))


@torch.no_grad()
def start_gate_from_head(gate: nn.Module, tail: nn.Module, groups: Sequence[Sequence[int]]) -> None:
    """Start a linear gate on trunk features from a trained head: a group's score is the mean of its classes' logits.

    Other gates are left alone, and so is any gate where the tail has more to it than a head.

    Args:
        gate: a gate from :func:`build_gate`.
        tail: the generalist's stages behind the trunk.
        groups: the classes of each specialist.
    """
    heads = [part for part in tail.modules() if isinstance(part, nn.Linear)]
    whole = sum(parameter.numel() for parameter in tail.parameters())
    if not isinstance(gate, TrunkGate) or not isinstance(gate.layers, nn.Linear) or not heads:
        return
    if whole == sum(parameter.numel() for parameter in heads[-1].parameters()):
        gate.layers.weight.copy_(torch.stack([heads[-1].weight[list(own)].mean(dim=0) for own in groups]))
        gate.layers.bias.copy_(torch.stack([heads[-1].bias[list(own)].mean() for own in groups]))
