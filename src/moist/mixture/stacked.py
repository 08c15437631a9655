"""Run K specialists of one shape at once, for training."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

__all__ = ["LoopedSpecialists", "StackedSpecialists", "can_stack", "stack_if_possible"]


def can_stack(module: nn.Module) -> bool:
    """Return whether K copies of ``module`` may run under ``vmap``: no convolution, and no state but parameters."""
    return not any(isinstance(part, (nn.Conv2d, nn.modules.batchnorm._BatchNorm)) for part in module.modules())


class StackedSpecialists(nn.Module):
    """K modules of one shape as one module over stacked parameters: small specialists train many times faster.

    Args:
        members: K modules with the same structure.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        params, buffers = stack_module_state(list(members))
        if buffers:
            raise ValueError(f"stacked specialists must have no buffers, got {sorted(buffers)}; train them in a loop")
        self._names = {name.replace(".", "__"): name for name in params}
        self.stacked = nn.ParameterDict({key: nn.Parameter(params[name].detach()) for key, name in self._names.items()})
        for parameter in self.stacked.values():
            # One dimension more than the member's own: a stacked bias is still a bias.
            parameter.decays = parameter.dim() > 2
        # In a list, so that it is no submodule: its own parameters are never trained nor saved.
        self._template = [copy.deepcopy(members[0]).to("meta")]
        self._members = [copy.deepcopy(member) for member in members[:1]]
        self.num_members = len(members)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits (N, K, C) of all members on the same inputs (N, ...)."""
        template = self._template[0]

        def one(params: dict[str, Tensor]) -> Tensor:
            output: Tensor = functional_call(template, params, (inputs,))
            return output

        params = {name: self.stacked[key] for key, name in self._names.items()}
        result: Tensor = vmap(one, out_dims=1, randomness="different")(params)
        return result

    def unstack(self) -> list[nn.Module]:
        """Return the K members as modules of their own."""
        members = []
        for k in range(self.num_members):
            member = copy.deepcopy(self._members[0])
            state = {name: self.stacked[key][k].detach().clone() for key, name in self._names.items()}
            member.load_state_dict(state)
            members.append(member)
        return members


def stack_if_possible(members: Sequence[nn.Module]) -> nn.Module:
    """Return the members stacked where their layers allow it, else as a list that runs in a loop."""
    return StackedSpecialists(members) if can_stack(members[0]) else LoopedSpecialists(members)


class LoopedSpecialists(nn.Module):
    """K modules that run one after the other on the same inputs.

    Args:
        members: K modules with the same outputs.
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
