"""Linear layers in bfloat16 on a processor, their bias added within the product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["bias_within", "can_add_within"]

FEW = 16  # rows below which the call costs more than it saves


def can_add_within(rows: Tensor) -> bool:
    """Tell whether :func:`bias_within` may serve these rows: bfloat16 on a processor, eagerly, without gradients."""
    return (
        rows.dtype == torch.bfloat16
        and rows.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
        and bool(torch.backends.mkldnn.enabled)
        and _library_has_it()
    )


def bias_within(module: nn.Module, rows_ND: Tensor) -> Tensor:
    """Return what a module gives; if it is layers in a row, its plain linear ones by oneDNN's product with a bias.

    torch fills the output with the bias and adds the product to it: in bfloat16 that writing and reading takes as long
    as half of the product. Modules that are watched by hooks are called as they are.

    Args:
        module: any, from (N, D) to (N, D').
        rows_ND: rows that :func:`can_add_within` agrees to.
    """
    if type(module) is not nn.Sequential or len(rows_ND) < FEW or any(map(_is_watched, (module, *module))):
        output: Tensor = module(rows_ND)
        return output
    for part in module:
        plain = type(part) is nn.Linear and part.weight.dtype == rows_ND.dtype and part.bias is not None
        rows_ND = _product(part, rows_ND) if plain else part(rows_ND)
    return rows_ND


def _product(layer: nn.Module, rows_ND: Tensor) -> Tensor:
    output: Tensor = torch.ops.mkldnn._linear_pointwise(rows_ND, layer.weight, layer.bias, "none", [], "")
    return output


def _is_watched(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _library_has_it() -> bool:
    # torch's own compiler calls it; not part of its public interface, so that its absence is no error.
    library = torch.ops.mkldnn
    return hasattr(library, "_linear_pointwise") and bool(library._is_mkldnn_bf16_supported())
