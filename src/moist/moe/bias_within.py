"""Linear layers in bfloat16 on a processor, their bias added within the product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from moist.moe.packed import forget_packed, packed

__all__ = ["bias_within", "can_add_within", "served_weights"]

FEW = 16  # rows below which the call costs more than it saves


def can_add_within(rows: Tensor) -> bool:
    """Tell whether :func:`bias_within` may serve these rows: bfloat16 on a processor, run eagerly."""
    return (
        rows.dtype == torch.bfloat16
        and rows.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
        and bool(torch.backends.mkldnn.enabled)
        and _library_has_it()
    )


def bias_within(module: nn.Module, rows_ND: Tensor) -> Tensor:
    """Return what a module gives; if it is layers in a row, its plain linear ones by oneDNN's product with a bias.

    torch fills the output with the bias and adds the product to it: in bfloat16 that writing and reading takes as long
    as half of the product. Without gradients a GELU after such a product overwrites it, and weights are read from their
    copies where there are any (:func:`moist.moe.pack_for_inference`). Modules that are watched by hooks are called as
    they are.

    Args:
        module: any, from (N, D) to (N, D').
        rows_ND: rows that :func:`can_add_within` agrees to.
    """
    if type(module) is not nn.Sequential or len(rows_ND) < FEW or any(map(_is_watched, (module, *module))):
        output: Tensor = module(rows_ND)
        return output
    ours = False  # whether nobody else holds these rows
    for part in module:
        if isinstance(part, nn.Linear) and _is_plain(part, rows_ND.dtype):
            rows_ND, ours = _product(part, rows_ND), True
        elif ours and type(part) is nn.GELU and not torch.is_grad_enabled():
            rows_ND = torch.ops.aten.gelu_(rows_ND, approximate=part.approximate)
        else:
            rows_ND, ours = part(rows_ND), False
    return rows_ND


def served_weights(module: nn.Module) -> Iterator[Tensor]:
    """Yield the weights that :func:`bias_within` reads by oneDNN's product, once the rows are in bfloat16."""
    for part in module if type(module) is nn.Sequential else ():
        if isinstance(part, nn.Linear) and _is_plain(part, torch.bfloat16) and part.weight.device.type == "cpu":
            yield part.weight


def _is_plain(layer: nn.Linear, dtype: torch.dtype) -> bool:
    return type(layer) is nn.Linear and layer.weight.dtype == dtype and layer.bias is not None


def _product(layer: nn.Linear, rows_ND: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return _call_library(rows_ND, packed(layer.weight), layer.bias)
    forget_packed(layer.weight)
    output: Tensor = _ProductAndBias.apply(rows_ND, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return output


def _call_library(rows_ND: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    output: Tensor = torch.ops.mkldnn._linear_pointwise(rows_ND, weight, bias, "none", [], "")
    return output


class _ProductAndBias(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(rows_ND, weight)
        return _call_library(rows_ND, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows_ND, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        return (
            grad @ weight if of_rows else None,
            _like(weight, grad, rows_ND) if of_weight else None,
            grad.sum(dim=0) if of_bias else None,
        )


def _like(weight: Tensor, grad: Tensor, rows_ND: Tensor) -> Tensor:
    """Return the weight's gradient, laid out in memory as the weight is: else it would be copied."""
    return grad.T @ rows_ND if weight.is_contiguous() else (rows_ND.T @ grad).T


def _is_watched(module: nn.Module) -> bool:
    watchers = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(watchers)


def _library_has_it() -> bool:
    # torch's own compiler calls it; not part of its public interface, so that its absence is no error.
    library = torch.ops.mkldnn
    return hasattr(library, "_linear_pointwise") and bool(library._is_mkldnn_bf16_supported())
