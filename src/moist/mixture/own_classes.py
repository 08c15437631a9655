"""Specialists that score only some of the classes, and so cost only these."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moist.data import InputShape
from moist.students import Student, StudentSettings, build_stages
from moist.types import UserError

__all__ = ["ABSENT", "SpreadClasses", "build_tail", "check_groups", "own_classes"]

# The logit of a class that a specialist does not know: its probability, about 1e-13, is finite in any logarithm.
ABSENT = -30.0


class SpreadClasses(nn.Module):
    """Put the logits of a specialist's own classes in their places among all classes.

    Args:
        classes: M different numbers from 0 to ``num_classes`` - 1, the meaning of each logit.
        num_classes: C.
    """

    classes: Tensor

    def __init__(self, classes: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("classes", torch.tensor(list(classes)))

    def forward(self, logits: Tensor) -> Tensor:
        """Map logits (N, M) of the own classes to (N, C), with :data:`ABSENT` elsewhere."""
        everywhere = logits.new_full((*logits.shape[:-1], self.num_classes), ABSENT)
        return everywhere.scatter(-1, self.classes.expand_as(logits), logits)


def build_tail(
    student: StudentSettings,
    shape: InputShape,
    num_classes: int,
    cut: int,
    classes: Sequence[int] | None = None,
    generalist: Student | None = None,
) -> nn.Sequential:
    """Build one specialist: the student's stages from ``cut`` on.

    Args:
        student: what it looks like.
        shape: what the whole student reads.
        num_classes: C.
        cut: stages left to the trunk.
        classes: those that it scores; None for all.
        generalist: a trained student, whose copy it then is, cut down to these classes; None for fresh weights.
    """
    if classes is None:
        stages = build_stages(student, shape, num_classes) if generalist is None else copy.deepcopy(generalist.stages)
        return nn.Sequential(*stages[cut:])
    tail = nn.Sequential(*build_stages(student, shape, len(classes))[cut:], SpreadClasses(classes, num_classes))
    if generalist is not None:
        _copy_own_classes(generalist.stages[cut:], tail, torch.tensor(list(classes)))
    return tail


def _copy_own_classes(whole: nn.ModuleList, tail: nn.Sequential, classes: Tensor) -> None:
    """Copy weights; whatever has an entry for each class (the head's weights, its biases) keeps its own classes'."""
    own = tail.state_dict()
    for name, value in whole.state_dict().items():
        own[name] = value if value.shape == own[name].shape else value[classes]
    tail.load_state_dict(own)


def own_classes(specialist: nn.Module) -> Tensor | None:
    """Return the classes (M,) that a specialist scores, None where it scores all."""
    return next((part.classes for part in specialist.modules() if isinstance(part, SpreadClasses)), None)


def check_groups(num_domains: int, size: int, num_classes: int) -> None:
    """Check that K groups of ``size`` classes can hold all C of them.

    Raises:
        UserError: they are too small, or larger than all classes together.
    """
    least = -(-num_classes // num_domains)
    if not least <= size <= num_classes:
        raise UserError(
            f"mixture.classes_per_specialist must be between {least} and {num_classes}, so that {num_domains} "
            f"specialists cover {num_classes} classes, got {size}; change it or mixture.num_domains"
        )
