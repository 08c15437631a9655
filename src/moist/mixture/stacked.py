"""Run K specialists of one shape at once, for training."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from typing_extensions import Self

from moist.students.convolution import PooledClassifier
from moist.students.resnet import BasicBlock

__all__ = ["GroupedSpecialists", "LoopedSpecialists", "StackedSpecialists", "TrainedTogether", "stack_if_possible"]

M = TypeVar("M", bound=nn.Module)
GROUPABLE = (
    nn.Sequential,
    BasicBlock,
    PooledClassifier,
    nn.Conv2d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.Identity,
    nn.Linear,
)


class TrainedTogether(nn.Module, ABC):
    """K specialists on the same inputs: (N, ...) to logits (N, K, C), and back to modules of their own."""

    @abstractmethod
    def unstack(self) -> list[nn.Module]:
        """Return the K members."""


def stack_if_possible(members: Sequence[nn.Module]) -> TrainedTogether:
    """Return the members in the form that trains fastest: stacked, grouped, or else in a loop."""
    if any(isinstance(part, nn.Conv2d) for part in members[0].modules()):
        return GroupedSpecialists(members) if _can_group(members[0]) else LoopedSpecialists(members)
    changing = any(buffer.is_floating_point() for buffer in members[0].buffers())
    return LoopedSpecialists(members) if changing else StackedSpecialists(members)


class StackedSpecialists(TrainedTogether):
    """K modules of one shape as one module over stacked parameters: small specialists train many times faster.

    Args:
        members: K modules with the same structure; whole numbers in their buffers may differ, and are never changed.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        params, buffers = stack_module_state(list(members))
        self._names = {name.replace(".", "__"): name for name in params}
        self.stacked = nn.ParameterDict({key: nn.Parameter(params[name].detach()) for key, name in self._names.items()})
        for parameter in self.stacked.values():
            # One dimension more than the member's own: a stacked bias is still a bias, without weight decay.
            parameter.decays = parameter.dim() > 2
        self._constants = {name.replace(".", "__"): name for name in buffers}
        for key, name in self._constants.items():
            self.register_buffer(key, buffers[name])
        # In lists, so that they are no submodules: their own parameters are neither trained nor saved.
        self._template = [copy.deepcopy(members[0]).to("meta")]
        self._member = [copy.deepcopy(members[0])]
        self.num_members = len(members)

    def train(self, mode: bool = True) -> Self:
        """Set the mode, of the template too: being no submodule, it would not hear of it."""
        self._template[0].train(mode)
        return super().train(mode)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits (N, K, C) of all members on the same inputs (N, ...)."""
        template = self._template[0]

        def one(state: dict[str, Tensor]) -> Tensor:
            return cast(Tensor, functional_call(template, state, (inputs,)))

        # Fused attention has no batching rule: vmap would warn, and run it one member at a time.
        with sdpa_kernel(SDPBackend.MATH):
            return vmap(one, out_dims=1, randomness="different")(self._state())

    def _state(self) -> dict[str, Tensor]:
        """Parameters and buffers of all members by their own names, stacked."""
        state = {name: self.stacked[key] for key, name in self._names.items()}
        return state | {name: self.get_buffer(key) for key, name in self._constants.items()}

    def unstack(self) -> list[nn.Module]:
        """Return the K members as modules of their own."""
        members = [copy.deepcopy(self._member[0]) for _ in range(self.num_members)]
        for k, member in enumerate(members):
            member.load_state_dict({name: value[k].detach() for name, value in self._state().items()})
        return members


class LoopedSpecialists(TrainedTogether):
    """K modules that run one after the other on the same inputs.

    Args:
        members: K modules with outputs of one shape.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits (N, K, C) of all members."""
        return torch.stack([member(inputs) for member in self.members], dim=1)

    def unstack(self) -> list[nn.Module]:
        """Return the K members."""
        return list(self.members)


class GroupedSpecialists(TrainedTogether):
    """K convolutional modules as one network of grouped convolutions, with the members' channels side by side.

    Batch normalisation works per channel, so each member keeps exactly the statistics that it would have alone.

    Args:
        members: K modules with the same structure, made of convolutions, batch normalisations, residual blocks and
            ReLUs, with a pooled classifier at the end.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.network = _group(list(members))
        self._member = [copy.deepcopy(members[0])]
        self.num_members = len(members)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits (N, K, C) of all members on the same features (N, D, H, W)."""
        repeated = inputs.repeat(1, self.num_members, 1, 1)
        return cast(Tensor, self.network(repeated.contiguous(memory_format=torch.channels_last)))

    def unstack(self) -> list[nn.Module]:
        """Return the K members as modules of their own."""
        members = [copy.deepcopy(self._member[0]) for _ in range(self.num_members)]
        names = {name for name, _ in members[0].named_buffers() if name.endswith("num_batches_tracked")}
        state = self.network.state_dict()
        for k, member in enumerate(members):
            own = {name: value if name in names else value.chunk(self.num_members)[k] for name, value in state.items()}
            # A grouped linear layer keeps (K, ...); the rest lie side by side along the first axis.
            shapes = member.state_dict()
            member.load_state_dict({name: value.reshape(shapes[name].shape) for name, value in own.items()})
        return members


def _can_group(member: nn.Module) -> bool:
    """Tell whether ``member`` is made of parts that are known to keep channels that lie side by side apart.

    A class of a user's own could do anything to them, silently. One linear layer is the pooled classifier's.
    """
    parts = [type(part) for part in member.modules()]
    known = all(part in GROUPABLE for part in parts)
    return known and parts.count(nn.Linear) == parts.count(PooledClassifier) == 1


def _group(members: list[nn.Module]) -> nn.Module:
    """Return one module in the shape of the members, every leaf replaced by its grouped form."""
    first = members[0]
    if isinstance(first, nn.Conv2d):
        return _group_convolution(cast("list[nn.Conv2d]", members))
    if isinstance(first, nn.BatchNorm2d):
        return _group_normalization(cast("list[nn.BatchNorm2d]", members))
    if isinstance(first, nn.Linear):
        return _GroupedLinear(cast("list[nn.Linear]", members))
    grouped = copy.deepcopy(first)
    for name, _ in first.named_children():
        setattr(grouped, name, _group([getattr(member, name) for member in members]))
    return grouped


def _group_convolution(members: list[nn.Conv2d]) -> nn.Conv2d:
    first, num_members = members[0], len(members)
    grouped = nn.Conv2d(
        first.in_channels * num_members,
        first.out_channels * num_members,
        cast("tuple[int, int]", first.kernel_size),
        cast("tuple[int, int]", first.stride),
        cast("tuple[int, int]", first.padding),
        cast("tuple[int, int]", first.dilation),
        groups=first.groups * num_members,
        bias=first.bias is not None,
        padding_mode=first.padding_mode,
    )
    return _concatenate(grouped, members)


def _group_normalization(members: list[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    first = members[0]
    grouped = nn.BatchNorm2d(
        first.num_features * len(members), first.eps, first.momentum, first.affine, first.track_running_stats
    )
    return _concatenate(grouped, members)


def _concatenate(grouped: M, members: Sequence[nn.Module]) -> M:
    states = [member.state_dict() for member in members]
    grouped.load_state_dict(
        {
            name: value if name == "num_batches_tracked" else torch.cat([state[name] for state in states])
            for name, value in states[0].items()
        }
    )
    return grouped


class _GroupedLinear(nn.Module):
    """K linear layers on features (N, K · D) that lie side by side, giving (N, K, C)."""

    def __init__(self, members: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([member.weight.detach() for member in members]))
        self.bias = nn.Parameter(torch.stack([member.bias.detach() for member in members]))
        self.bias.decays = False  # type: ignore[attr-defined]

    def forward(self, features: Tensor) -> Tensor:
        num_members = len(self.weight)
        features_NKD = torch.unflatten(features, 1, (num_members, -1))
        return torch.einsum("nkd,kcd->nkc", features_NKD, self.weight) + self.bias
