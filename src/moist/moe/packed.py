"""Copies of weights in the order that oneDNN's bfloat16 product reads."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["can_pack", "forget_packed", "pack", "packed"]


@dataclass(frozen=True)
class _Copy:
    """A weight's copy, and the weight's address and torch's count of its changes when it was made."""

    state: tuple[int, int]
    weight: Tensor


# By the weight itself and weakly: a module is pickled, copied and saved as if there were no copies, and takes its own
# along when it goes.
_copies: MutableMapping[Tensor, _Copy] = WeakTensorKeyDictionary()


def can_pack() -> bool:
    """Tell whether this torch lays out weights for keeps; it is no part of its public interface."""
    return hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def pack(weight: Tensor) -> None:
    """Freeze a linear layer's weight (D', D) and keep a copy of it.

    Frozen, since torch does not count what a fused optimizer changes.
    """
    weight.requires_grad_(False)
    # From rows as torch keeps them in half the time.
    copy: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
    _copies[weight] = _Copy(_state(weight), copy)


def packed(weight: Tensor) -> Tensor:
    """Return a weight's copy where it has one, and is frozen and unchanged since; else the weight itself."""
    if not _copies or (copy := _copies.get(weight)) is None:
        return weight
    if copy.state == _state(weight) and not weight.requires_grad:
        return copy.weight
    forget_packed(weight)
    return weight


def forget_packed(weight: Tensor) -> None:
    """Give back the memory of a weight's copy, since it is about to be trained."""
    if _copies:
        _copies.pop(weight, None)


def _state(weight: Tensor) -> tuple[int, int]:
    return weight.data_ptr(), weight._version
