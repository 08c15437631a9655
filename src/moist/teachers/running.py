"""Running a network over many inputs: batches, precision, threads, and a hash of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from moist.types import TeacherSignal

__all__ = ["hash_weights", "mixed_precision", "run_in_batches", "torch_threads"]


def run_in_batches(
    num_rows: int,
    batch_size: int,
    forward: Callable[[np.ndarray], tuple[Tensor, Tensor | None]],
    order: np.ndarray | None = None,
) -> TeacherSignal:
    """Run ``forward`` over all rows, without gradients, and return its results in row order.

    Args:
        num_rows: N, at least 1.
        batch_size: rows per call.
        forward: takes row numbers (B,), returns logits (B, C) and an embedding (B, D) or None.
        order: (N,) the order in which rows are run (texts of one length together); as they come where left out.
    """
    order = np.arange(num_rows) if order is None else order
    logits: list[Tensor] = []
    embeddings: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, num_rows, batch_size):
            batch_logits, embedding = forward(order[start : start + batch_size])
            logits.append(batch_logits.float())
            if embedding is not None:
                embeddings.append(embedding.float())
    # Outside inference mode, so that a loss may save the results for its backward pass.
    back = torch.from_numpy(np.argsort(order, kind="stable"))
    return TeacherSignal(
        logits=torch.cat(logits)[back],
        embedding=torch.cat(embeddings)[back] if embeddings else None,
    )


def mixed_precision(precision: str) -> torch.autocast:
    """Return the context in which a network runs in ``precision``: bfloat16, or float32 as it is."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run torch with so many threads; None leaves the number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def hash_weights(module: nn.Module) -> str:
    """Return a hash of a module's parameters and buffers, names included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
