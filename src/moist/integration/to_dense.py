"""A sparse student becomes a dense one: experts are gathered, all else is copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from moist.data import InputShape
from moist.integration.data_aware import activation_scores, gather_least_squares, taylor_scores
from moist.integration.feed_forward import Activation, FeedForward, activation_of, feed_forward_of, load_feed_forward
from moist.integration.gather import gather_average, gather_sum, gather_svd, gather_top_k
from moist.integration.observe import SeenLayer, observe
from moist.moe import MoELayer
from moist.students import (
    EncoderBlock,
    RoutedStage,
    SparseHead,
    Student,
    StudentSettings,
    create_student,
    dense_origins,
)
from moist.types import UserError

__all__ = ["GatherMethod", "UnitScore", "copy_shared", "to_dense"]

GatherMethod = Literal["sum", "average", "top-k", "svd", "least-squares"]
UnitScore = Literal["norm", "activation", "taylor"]


def to_dense(
    sparse: Student,
    settings: StudentSettings,
    shape: InputShape,
    num_classes: int,
    method: GatherMethod,
    *,
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
    unit_score: UnitScore = "norm",
    ridge: float = 1e-3,
) -> tuple[Student, StudentSettings]:
    """Gather every sparse layer of a student into one dense feed-forward layer of an expert's width.

    Args:
        sparse: the student with experts, left as it is.
        settings: what it looks like.
        shape: what it reads.
        num_classes: C.
        method: how the experts are gathered.
        inputs: (N, ...) training inputs as the student reads them, needed by ``least-squares`` and by the unit scores
            ``activation`` and ``taylor``.
        targets: (N,) their classes, needed by ``taylor``.
        unit_score: what makes a hidden unit worth keeping (``top-k``).
        ridge: see :func:`moist.integration.gather_least_squares`.

    Returns:
        The dense student and its settings.

    Raises:
        UserError: the student has no experts, or experts that cannot be gathered, or data are missing.
    """
    _check(settings, method, unit_score, inputs, targets)
    dense = copy_shared(sparse, settings, shape, num_classes)
    seen = observe(sparse, inputs, targets) if inputs is not None and _looks_at_data(method, unit_score) else None
    blocks = [_dense_block(dense, i, stage) for i, stage in enumerate(sparse.stages) if isinstance(stage, RoutedStage)]
    for number, (layer, block) in enumerate(zip(sparse.sparse_layers, blocks)):
        gathered = _gather(layer, method, unit_score, None if seen is None else seen[number], ridge)
        load_feed_forward(block, gathered)
    return dense, settings.model_copy(update={"sparse": None})


def copy_shared(sparse: Student, settings: StudentSettings, shape: InputShape, num_classes: int) -> Student:
    """Return a dense student with all of a sparse one's weights but its experts', in whose place are fresh layers.

    The control that tells what gathering is worth beside copying.

    Args:
        sparse: the student with experts, left as it is.
        settings: what it looks like.
        shape: what it reads.
        num_classes: C.
    """
    dense = create_student(settings.model_copy(update={"sparse": None}), shape, num_classes).eval()
    origins, state = dense_origins(sparse), sparse.state_dict()
    expertless = {origin: state[name] for name, origin in origins.items() if ".experts." not in name}
    dense.load_state_dict({**dense.state_dict(), **expertless})
    return dense


def _dense_block(dense: Student, stage: int, part: RoutedStage) -> nn.Module:
    """Return the dense feed-forward layer that takes the place of a sparse stage's experts; its parts are shared."""
    first = dense.stages[stage]
    if isinstance(part, SparseHead):
        assert isinstance(first, nn.Sequential)
        return nn.Sequential(first[0], first[1], dense.stages[stage + 1])
    assert isinstance(first, EncoderBlock)
    return first.feed_forward


def _gather(
    layer: MoELayer, method: GatherMethod, unit_score: UnitScore, seen: SeenLayer | None, ridge: float
) -> FeedForward:
    experts = [feed_forward_of(member) for member in layer.experts.members]
    if method == "sum":
        return gather_sum(experts)
    if method == "average":
        return gather_average(experts)
    if method == "svd":
        return gather_svd(experts)
    activation = activation_of(layer.experts.members[0])
    if method == "top-k":
        return gather_top_k(experts, scores=_scores(experts, activation, unit_score, seen))
    assert seen is not None
    return gather_least_squares(experts, seen.rows, seen.weights_NE, activation, ridge=ridge)


def _scores(
    experts: Sequence[FeedForward], activation: Activation, unit_score: UnitScore, seen: SeenLayer | None
) -> list[Tensor] | None:
    if unit_score == "norm" or seen is None:
        return None
    if unit_score == "activation":
        weights = seen.weights_NE.unbind(dim=1)
        return [activation_scores(e, seen.rows, activation, weight) for e, weight in zip(experts, weights)]
    assert seen.output_grads_END is not None
    return [taylor_scores(e, seen.rows, grads, activation) for e, grads in zip(experts, seen.output_grads_END)]


def _looks_at_data(method: GatherMethod, unit_score: UnitScore) -> bool:
    return method == "least-squares" or (method == "top-k" and unit_score != "norm")


def _check(
    settings: StudentSettings,
    method: GatherMethod,
    unit_score: UnitScore,
    inputs: Tensor | None,
    targets: Tensor | None,
) -> None:
    if settings.sparse is None:
        raise UserError("integration takes a student with experts, got a dense one; train it with student.sparse")
    if settings.family == "resnet":
        raise UserError(
            "integration takes experts of linear layers, got a resnet, whose experts are convolutions; "
            "take a student of family mlp, transformer or vit"
        )
    if settings.sparse.gated:
        raise UserError(
            "a dense student has plain feed-forward layers, got gated experts; gather them with the functions of "
            "moist.integration into a network of your own"
        )
    if _looks_at_data(method, unit_score) and inputs is None:
        raise UserError(f"method {method!r} looks at data, got none; give inputs, some thousands of training rows")
    if method == "top-k" and unit_score == "taylor" and targets is None:
        raise UserError("unit_score 'taylor' needs the classes of the inputs, got none; give targets")
