"""Dense student to sparse student and back, weight by weight."""

from __future__ import annotations

import re

from torch import nn

from moist.data import InputShape
from moist.moe import SparseSettings, upcycle
from moist.students.settings import StudentSettings
from moist.students.sparse import SparseHead
from moist.students.student import Student, create_student
from moist.types import UserError

__all__ = ["dense_origins", "upcycle_student"]

EXPERT = re.compile(r"stages\.(\d+)\.moe\.experts\.members\.\d+\.(.*)")
ENCODER = re.compile(r"stages\.(\d+)\.block\.(.*)")


def upcycle_student(
    student: Student,
    settings: StudentSettings,
    sparse: SparseSettings,
    shape: InputShape,
    num_classes: int,
    noise: float = 0.0,
) -> tuple[Student, StudentSettings]:
    """Turn a trained dense student into a sparse one that starts by giving the same logits.

    Every feed-forward layer that ``sparse.blocks`` names (of an mlp: the last hidden layer and the head) becomes E
    experts, copies of it; the router is fresh, drawn from torch's global generator; all else is copied.

    Args:
        student: the dense student.
        settings: what it looks like.
        sparse: experts and router. The weights of the chosen must sum to 1.
        shape: what it reads.
        num_classes: C.
        noise: see :func:`moist.moe.upcycle`.

    Returns:
        The sparse student and its settings.

    Raises:
        UserError: the student is sparse already or has no feed-forward layers, or the router would change its outputs.

    Komatsuzaki et al. 2022, "Sparse Upcycling" (arXiv 2212.05055).
    """
    _check(settings, sparse)
    made = StudentSettings.model_validate({**settings.model_dump(), "sparse": sparse.model_dump()})
    grown = create_student(made, shape, num_classes)
    origins = dense_origins(grown)
    state = student.state_dict()
    fresh = grown.state_dict()
    grown.load_state_dict({name: state[origins[name]] if name in origins else fresh[name] for name in fresh})
    for layer in grown.sparse_layers if noise else []:
        layer.experts.members = nn.ModuleList(upcycle(layer.experts.members[0], sparse.num_experts, noise))
    return grown, made


def dense_origins(sparse: Student) -> dict[str, str]:
    """Return, for every weight of a sparse student but its routers', the dense student's weight of the same role."""
    origins = {}
    for name in sparse.state_dict():
        if ".moe.router." in name:
            continue
        if expert := EXPERT.fullmatch(name):
            origins[name] = _of_expert(sparse, int(expert[1]), expert[2])
        elif encoder := ENCODER.fullmatch(name):
            origins[name] = f"stages.{encoder[1]}.{encoder[2]}"
        else:
            origins[name] = name
    return origins


def _of_expert(sparse: Student, stage: int, name: str) -> str:
    if isinstance(sparse.stages[stage], SparseHead):
        return f"stages.{stage + 1}.{name[2:]}" if name.startswith("2.") else f"stages.{stage}.{name}"
    return f"stages.{stage}.feed_forward.{name}"


def _check(settings: StudentSettings, sparse: SparseSettings) -> None:
    if settings.sparse is not None:
        raise UserError("upcycle takes a dense student, got one with experts; train it without student.sparse")
    if settings.family not in ("mlp", "transformer", "vit"):
        raise UserError(
            f"upcycle copies feed-forward layers, which family {settings.family!r} does not have; "
            "take an mlp, a transformer or a vit"
        )
    sums_to_one = sparse.router in ("noisy-top-k", "gshard") or (
        sparse.router == "top-k" and sparse.combine == "renormalize"
    )
    if not sums_to_one or sparse.top_k < 2 or sparse.capacity_factor is not None or sparse.gated:
        raise UserError(
            "upcycle needs weights that sum to 1 over at least 2 experts of the dense kind without a capacity, so that "
            f"outputs stay and the gate still learns; got router {sparse.router!r}, combine {sparse.combine!r}, "
            f"top_k {sparse.top_k}; take router: top-k, combine: renormalize, top_k: 2"
        )
