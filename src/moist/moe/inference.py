"""Ready a sparse network for serving."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from moist.moe.bias_within import served_weights
from moist.moe.experts import Experts
from moist.moe.packed import can_pack, pack
from moist.types import UserError

__all__ = ["pack_for_inference"]


def pack_for_inference(network: nn.Module) -> int:
    """Freeze every expert's weights and keep copies as oneDNN's bfloat16 product reads them; return their bytes.

    oneDNN lays out a weight anew in each call, which for an expert's few rows is a tenth of its time on processors
    with AVX-512 and no matrix unit. Passes without gradients then read the copy. It is dropped once the weight is
    loaded anew, changed in place, or no longer frozen (``requires_grad_(True)``); but torch does not count changes
    through ``weight.data`` or NumPy: after these, call again. Weights take twice the memory; pickles, deep copies and
    ``state_dict`` hold no copies.

    Args:
        network: with :class:`~moist.moe.Experts` of plain layers in bfloat16, on the processor, such as a
            :class:`~moist.moe.MoELayer` of :func:`~moist.moe.mlp_expert`.

    Raises:
        UserError: there is no such weight, or this torch cannot copy it.
    """
    weights = list(_weights(network))
    if not weights or not can_pack():
        raise UserError(
            "packing is for experts of plain linear layers in bfloat16 on a processor, with a torch that has oneDNN; "
            "got none such; convert the network first (network.bfloat16()) or serve it as it is"
        )
    for weight in weights:
        pack(weight)
    return sum(weight.nbytes for weight in weights)


def _weights(network: nn.Module) -> Iterator[Tensor]:
    for experts in network.modules():
        if isinstance(experts, Experts):
            for member in experts.members:
                yield from served_weights(member)
