"""Build a specialist ensemble from settings, and start its specialists from the generalist."""

from __future__ import annotations

from math import ceil, log

import torch
from torch import Tensor, nn

from moist.data import InputShape
from moist.errors import UserError
from moist.mixture.ensemble import CoverageGate, SpecialistEnsemble
from moist.mixture.settings import MixtureSettings
from moist.students import StudentSettings, build_stages, create_student

__all__ = ["build_ensemble", "classes_each", "new_class_specialist", "start_from_generalist"]


def classes_each(settings: MixtureSettings, num_classes: int) -> int:
    """Return S, how many classes each specialist knows: as set, else twice an equal share, so that sets overlap.

    Raises:
        UserError: there are too few classes for sets.
    """
    size = settings.classes_each or min(max(2, ceil(2 * num_classes / settings.num_domains)), num_classes - 2)
    if not 2 <= size <= num_classes - 2:
        raise UserError(
            f"mixture.classes_each must be from 2 to two less than the number of classes, got {size} for "
            f"{num_classes} classes; change it, or use another mixture.method"
        )
    return size


def new_class_specialist(student: StudentSettings, shape: InputShape, size: int) -> nn.Sequential:
    """Return an untrained specialist of ``size`` classes and a dustbin, its output the last."""
    return nn.Sequential(*build_stages(student, shape, size + 1))


def build_ensemble(
    settings: MixtureSettings,
    student: StudentSettings,
    shape: InputShape,
    num_classes: int,
    sets_MS: Tensor | None = None,
    correction_M: Tensor | None = None,
) -> SpecialistEnsemble:
    """Build an untrained ensemble: generalist and specialists of the student's shape.

    Args:
        settings: the mixture, of method ``hinton-specialists``.
        student: of generalist and specialists.
        shape: what inputs look like.
        num_classes: C.
        sets_MS: (M, S) classes of each specialist; zeros, to be filled from a file, where it is None.
        correction_M: (M,) of the dustbins' logits.

    Raises:
        UserError: as :func:`classes_each`.
    """
    size = classes_each(settings, num_classes)
    sets = torch.zeros(settings.num_domains, size, dtype=torch.int64) if sets_MS is None else sets_MS
    gate = CoverageGate(create_student(student, shape, num_classes), sets, correction_M)
    specialists = nn.ModuleList(new_class_specialist(student, shape, size) for _ in range(settings.num_domains))
    return SpecialistEnsemble(gate, specialists, top_n=settings.top_n).eval()


def start_from_generalist(specialist: nn.Sequential, generalist_stages: nn.Module, classes_S: Tensor) -> None:
    """Give a specialist the generalist's weights; of the outputs its own classes' rows, and for the dustbin the mean.

    The dustbin's bias also gets the logarithm of how many classes it stands for.

    Args:
        specialist: of S + 1 outputs.
        generalist_stages: the generalist's stages, in their order.
        classes_S: (S,) int64 classes of the specialist.
    """
    theirs = generalist_stages.state_dict()
    ours = {name: _taken(theirs[name], value, classes_S) for name, value in specialist.state_dict().items()}
    specialist.load_state_dict(ours)


def _taken(theirs: Tensor, ours: Tensor, classes_S: Tensor) -> Tensor:
    """Return a weight as it is, or the rows of the specialist's classes and the dustbin's."""
    if theirs.shape == ours.shape:
        return theirs.clone()
    outside = torch.ones(len(theirs), dtype=torch.bool)
    outside[classes_S] = False
    dustbin = theirs[outside].mean(dim=0, keepdim=True)
    if theirs.dim() == 1:
        dustbin = dustbin + log(int(outside.sum()))
    return torch.cat([theirs[classes_S], dustbin])
