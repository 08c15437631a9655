"""Specialists that are opened when an input first needs them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from moist.runtime.residents import Residents
from moist.types import UserError

__all__ = ["LazySpecialists", "give_weights", "hollow"]

OpenWeights = Callable[[int], Mapping[str, Tensor]]


class LazySpecialists(nn.Module):
    """K specialists, of which at most ``max_resident`` are in memory: those used last.

    It is a module so that ``to``, ``half``, ``eval`` and the like of the mixture around it reach the specialists, those
    opened later too; it has no parameters of its own, and none of theirs. Any number of threads may use it.

    Args:
        templates: the structures of the first specialists, the last of them also of all that follow; their weights are
            dropped.
        open_weights: returns the weights of specialist k; called under a lock.
        num_specialists: K.
        max_resident: most specialists in memory; None for all.

    Raises:
        UserError: ``max_resident`` is less than 1.
    """

    def __init__(
        self,
        templates: Sequence[nn.Module],
        open_weights: OpenWeights,
        num_specialists: int,
        max_resident: int | None = None,
    ) -> None:
        super().__init__()
        self.max_resident = max_resident
        self._num_specialists = num_specialists
        self._open_weights = open_weights
        # In a list, so that they are no submodules: they have no values to move.
        self._templates = [hollow(template) for template in templates]
        self._moves: list[Callable[[Tensor], Tensor]] = []
        self._start_empty()

    def _start_empty(self) -> None:
        self._residents: Residents[nn.Module] = Residents(self._open, [0] * self._num_specialists, self.max_resident)

    @property
    def resident(self) -> tuple[int, ...]:
        """Numbers of the specialists in memory, the one used last at the end."""
        return self._residents.resident

    def __len__(self) -> int:
        return self._num_specialists

    def __iter__(self) -> Iterator[nn.Module]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> nn.Module:
        if not 0 <= k < self._num_specialists:
            raise IndexError(f"specialists are numbered 0 to {self._num_specialists - 1}, got {k}")
        return self._residents[k]

    def _open(self, k: int) -> nn.Module:
        # Weights made inside inference mode could never be trained or differentiated through afterwards.
        with torch.inference_mode(False):
            template = self._templates[min(k, len(self._templates) - 1)]
            specialist = give_weights(copy.deepcopy(template), self._open_weights(k), f"specialist {k}")
            for move in self._moves:
                specialist._apply(move)  # type: ignore[no-untyped-call]
        return specialist.train(self.training)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the specialists in memory, and remember to do so with the others."""
        with self._residents.held() as opened:
            self._moves.append(fn)
            for specialist in opened:
                specialist._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all specialists."""
        with self._residents.held() as opened:
            super().train(mode)
            for specialist in opened:
                specialist.train(mode)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # A lock cannot be copied; what was open is opened again.
        return {key: value for key, value in self.__dict__.items() if key != "_residents"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._start_empty()


def hollow(module: nn.Module) -> nn.Module:
    """Drop the values of what ``module`` saves, in place: the structure stays, and takes no memory.

    Buffers that are not saved keep their values, for no file will bring them.
    """
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                empty = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
                part._parameters[name] = empty
        for name, buffer in part._buffers.items():
            if buffer is not None and name not in part._non_persistent_buffers_set:
                part._buffers[name] = buffer.to("meta")
    return module


def give_weights(module: nn.Module, weights: Mapping[str, Tensor], origin: str) -> nn.Module:
    """Put ``weights`` into ``module``, without a copy, and return it.

    Args:
        module: what they belong to.
        weights: exactly its parameters and buffers, by name.
        origin: what to call them in an error.

    Raises:
        UserError: names or shapes differ.
    """
    try:
        module.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"the weights of {origin} must fit the settings in bundle.json, they do not: {problem}; make "
            "the bundle again"
        ) from None
    return module
