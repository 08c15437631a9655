"""What one input costs, counted by running it: multiply-accumulates, parameters read, bytes stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from moist.types import Cost

__all__ = ["count_active_params", "count_cost"]

aten = torch.ops.aten


def count_cost(module: nn.Module, example: Tensor) -> Cost:
    """Count what one input costs, by one forward pass in eval mode; the module is left as it was.

    Counted are matrix products (linear layers, ``bmm``, ``einsum``), convolutions, attention and recurrent layers, and
    one multiply-accumulate per dimension of each embedding row that is read; reads of the padding row are free, since
    a runtime skips them. Biases, normalisation (foldable into the weights), activations, pooling, and elementwise
    arithmetic count nothing, as is usual.

    Args:
        module: what to count; parameters and bytes are those of :func:`count_active_params`.
        example: (N, ...) inputs; where the cost varies with the input, the mean over these is given.
    """
    embeddings = _EmbeddingReads()
    with _in_eval_mode(module), _plain_attention(), torch.no_grad():
        counter = FlopCounterMode(display=False, custom_mapping=_MISSING_FORMULAS)
        with counter, embeddings:
            module(example)
    macs = (counter.get_total_flops() // 2 + embeddings.macs) / len(example)
    params = sum(share * tensor.numel() for tensor, share in _stored(module, buffers=False))
    size = sum(share * tensor.numel() * tensor.element_size() for tensor, share in _stored(module, buffers=True))
    return Cost(macs=macs, params=round(params), bytes=round(size))


def count_active_params(module: nn.Module) -> int:
    """Count the parameters that are read for one input; a shared parameter counts once.

    A submodule that reads only a part of its parameters for each input (a sparse layer) says which part by an attribute
    ``active_fraction`` between 0 and 1; it holds for everything inside it. Embedding tables count whole.
    """
    return round(sum(share * tensor.numel() for tensor, share in _stored(module, buffers=False)))


def _stored(module: nn.Module, *, buffers: bool) -> list[tuple[Tensor, float]]:
    """Each distinct parameter (and each buffer that is saved), with the share of it that one input reads."""
    found: dict[int, tuple[Tensor, float]] = {}

    def visit(part: nn.Module, share: float) -> None:
        share *= float(getattr(part, "active_fraction", 1.0))
        own: list[Tensor] = [tensor for tensor in part._parameters.values() if tensor is not None]
        if buffers:
            unsaved = part._non_persistent_buffers_set
            own += [t for name, t in part._buffers.items() if t is not None and name not in unsaved]
        for tensor in own:
            known = found.get(id(tensor))
            found[id(tensor)] = (tensor, max(share, known[1] if known else 0.0))
        for child in part.children():
            visit(child, share)

    visit(module, 1.0)
    return list(found.values())


@contextmanager
def _in_eval_mode(module: nn.Module) -> Iterator[None]:
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, was in training.items():
            part.training = was


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Keep torch's fused encoder layers apart: as one operation, they would hide what they multiply."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


class _EmbeddingReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts embedding rows read, padding apart: the ids matter, so shapes alone don't tell."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operation = func._overloadpacket
        if operation is aten.embedding:
            self._count(args[0], args[1], _argument(args, kwargs, 2, "padding_idx", -1))
        elif operation in (aten._embedding_bag, aten._embedding_bag_forward_only):
            self._count(args[0], args[1], _argument(args, kwargs, 8, "padding_idx", -1))
        return func(*args, **kwargs)

    def _count(self, weight: Tensor, ids: Tensor, padding: int) -> None:
        # On the meta device (sizes without values) every id counts as read.
        rows = ids.numel() if padding < 0 or ids.is_meta else int((ids != padding).sum())
        self.macs += rows * weight.shape[-1]


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, default: int) -> int:
    return int(args[position] if len(args) > position else kwargs.get(name, default))


# Operations that torch's own counter has no formula for; in floating-point operations (two per multiply-accumulate),
# from shapes.


def _matrix_vector(a: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(a)


def _added_matrix_vector(_bias: Sequence[int], a: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(a)


def _added_batch_product(_bias: Sequence[int], a: Sequence[int], b: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(a) * b[-1]


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    # (..., L, D) · (..., S, D) and then (..., L, S) · (..., S, V): masked positions are multiplied all the same.
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _recurrent(inputs: Sequence[int], weight: Sequence[int], hidden: Sequence[int], *_: Any, **__: Any) -> int:
    # One layer and direction over (steps, N, D) inputs: both gate matrices at each step.
    return 2 * inputs[0] * inputs[1] * (prod(weight) + prod(hidden))


_MISSING_FORMULAS: dict[Any, Callable[..., int]] = {
    aten.mv: _matrix_vector,
    aten.dot: _matrix_vector,
    aten.addmv: _added_matrix_vector,
    aten.addbmm: _added_batch_product,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten.mkldnn_rnn_layer: _recurrent,
}
