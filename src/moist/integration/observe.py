"""What the sparse layers of a network read and decide on real inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moist.routing import SoftRouting, gate_weights
from moist.students import Student
from moist.types import Routing, UserError

__all__ = ["SeenLayer", "observe"]


@dataclass(frozen=True)
class SeenLayer:
    """One sparse layer on N rows.

    Args:
        rows: (N, D) what it read.
        weights_NE: the gate's weights, 0 for experts that were not chosen.
        output_grads_END: (E, N, D') gradient of the loss with respect to each expert's outputs, its weight included;
            None where no classes were given.
    """

    rows: Tensor
    weights_NE: Tensor
    output_grads_END: Tensor | None = None


def observe(student: Student, inputs: Tensor, targets: Tensor | None = None) -> list[SeenLayer]:
    """Run a student once in evaluation mode and return what each of its sparse layers saw, in order.

    Args:
        student: with sparse layers; left in the mode that it was in.
        inputs: (N, ...) as the student reads them.
        targets: (N,) classes, for the gradients of the cross-entropy.

    Raises:
        UserError: a layer routes softly, so that its rows are not served one by one.
    """
    rows: list[Tensor] = []
    hooks = [layer.router.register_forward_hook(_keeping(rows)) for layer in student.sparse_layers]
    was = student.training
    student.eval()
    try:
        grads: list[Tensor | None] = [None] * len(hooks)
        with torch.set_grad_enabled(targets is not None):
            logits, facts = student.forward_facts(inputs, None if targets is None else "all")
            if targets is not None:
                outputs = [fact.expert_outputs for fact in facts if fact.expert_outputs is not None]
                # Summed, not averaged: each row's gradient is then its own, whatever N is.
                grads = list(torch.autograd.grad(F.cross_entropy(logits, targets, reduction="sum"), outputs))
    finally:
        student.train(was)
        for hook in hooks:
            hook.remove()
    routings = [fact.routing for fact in facts]
    _check(routings)
    return [SeenLayer(*seen) for seen in zip(rows, [gate_weights(each).detach() for each in routings], grads)]


def _keeping(rows: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...], Routing], None]:
    def keep(_router: nn.Module, arguments: tuple[Tensor, ...], _routing: Routing) -> None:
        rows.append(arguments[0].detach())

    return keep


def _check(routings: list[Routing]) -> None:
    if any(isinstance(routing, SoftRouting) for routing in routings):
        raise UserError(
            "a gather that looks at data needs experts that serve rows one by one, got soft routing; "
            "take the method sum, average, svd, or top-k by weight norms"
        )
