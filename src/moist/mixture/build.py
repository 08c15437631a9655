"""Build a mixture from settings, and count what an input costs."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moist.data import InputShape
from moist.evaluation import count_cost
from moist.mixture.early_exit import EarlyExitGate, ExitHead, ExitSettings, ExitTrunk, LargeTail
from moist.mixture.gates import build_gate
from moist.mixture.model import MixtureOfSpecialists
from moist.mixture.own_classes import build_tail, check_groups
from moist.mixture.pooling import pool_features
from moist.mixture.settings import MixtureSettings
from moist.mixture.trainable import TrainableMixture
from moist.students import Student, StudentSettings, build_stages
from moist.students.dense import classifier
from moist.students.settings import ENCODERS
from moist.types import Cost, UserError

__all__ = ["build_mixture", "mixture_cost"]


def build_mixture(
    settings: MixtureSettings,
    student: StudentSettings,
    shape: InputShape,
    num_classes: int,
    example: Tensor,
    generalist: Student | None = None,
    groups: Sequence[Sequence[int]] | None = None,
) -> TrainableMixture:
    """Build an untrained mixture of K specialists of the student's shape, each with a start of its own.

    Args:
        settings: the mixture.
        student: the specialists (and with the trunk's stages, the generalist).
        shape: what inputs look like.
        num_classes: C.
        example: (N, ...) a few inputs.
        generalist: a trained student; trunk and specialists then start as its copies.
        groups: K groups of ``classes_per_specialist`` classes; where left out, the first ones stand in for what weights
            that are loaded will bring.

    Raises:
        UserError: the trunk would leave nothing for the specialists, the router has no trunk to read, or the groups
            cannot hold all classes.
    """
    stages = list(build_stages(student, shape, num_classes))
    _check_trunk(settings, len(stages))
    if settings.exit is not None:
        return _build_with_exit(settings, settings.exit, student, shape, num_classes, example)
    if generalist is not None:
        stages = list(generalist.stages)
    cut, size = settings.trunk_stages, settings.classes_per_specialist
    if size is not None:
        check_groups(settings.num_domains, size, num_classes)
    trunk = nn.Sequential(*copy.deepcopy(stages[:cut])) if cut else nn.Identity()
    with torch.no_grad():
        features = trunk.eval()(example)
    trunk.train()
    own = [None] * settings.num_domains if size is None else groups or [range(size)] * settings.num_domains
    members = [build_tail(student, shape, num_classes, cut, classes, generalist) for classes in own]
    gate = build_gate(settings.router, shape, settings.num_domains, features)
    return TrainableMixture(trunk, gate, members, settings.router.reads, sparse=settings.active is not None)


def _build_with_exit(
    settings: MixtureSettings,
    early_exit: ExitSettings,
    student: StudentSettings,
    shape: InputShape,
    num_classes: int,
    example: Tensor,
) -> TrainableMixture:
    if student.family in ENCODERS:
        raise UserError(
            f"mixture.exit needs stages of another width behind the trunk, family {student.family!r} has one width "
            "throughout; leave mixture.exit out"
        )
    cut = settings.trunk_stages
    narrow = student.model_copy(update={"tail_width": early_exit.width, "tail_from": cut})
    shared = nn.Sequential(*build_stages(student, shape, num_classes)[:cut])
    branch = nn.Sequential(*build_stages(narrow, shape, num_classes)[cut:-1])
    trunk = ExitTrunk(shared, branch)
    with torch.no_grad():
        features = shared.eval()(example)
        own = pool_features(branch.eval()(features))
    trunk.train()
    tails = [build_tail(student, shape, num_classes, cut) for _ in range(settings.num_domains - 1)]
    head = ExitHead(classifier(own.shape[1], num_classes))
    among = None
    if len(tails) > 1:
        among = build_gate(settings.router, shape, len(tails), own)
    members = [head, *(LargeTail(tail, features.shape[1:]) for tail in tails)]
    return TrainableMixture(trunk, EarlyExitGate(head, among), members, settings.router.reads, sparse=True)


def _check_trunk(settings: MixtureSettings, num_stages: int) -> None:
    if settings.exit is not None and settings.trunk_stages > num_stages - 2:
        raise UserError(
            f"mixture.exit needs a stage of its own between the trunk and the head, of the student's {num_stages} the "
            f"trunk has {settings.trunk_stages}; lower mixture.trunk_stages"
        )
    if settings.trunk_stages >= num_stages:
        raise UserError(
            f"mixture.trunk_stages must leave at least one of the student's {num_stages} stages to the specialists, "
            f"got {settings.trunk_stages}; lower it"
        )
    if settings.router.reads == "trunk" and settings.trunk_stages == 0:
        raise UserError(
            "mixture.router.reads=trunk needs a shared trunk, got mixture.trunk_stages=0; "
            "set mixture.trunk_stages or mixture.router.reads=inputs"
        )


def mixture_cost(mixture: MixtureOfSpecialists, example: Tensor, load_K: Sequence[float]) -> tuple[Cost, Cost]:
    """Return (active, total) cost per input: trunk, gate and the specialists weighted by the share each serves.

    Args:
        mixture: the deployed mixture.
        example: (N, ...) inputs to count on.
        load_K: share of the inputs that each specialist serves; sums to top_k.
    """
    trunk = count_cost(mixture.trunk, example)
    with torch.no_grad():
        features = mixture.trunk(example)
    gate = count_cost(mixture.gate, features if mixture.reads == "trunk" else example)
    costs = [count_cost(specialist, features) for specialist in mixture.specialists]
    mean = Cost(
        sum(share * cost.macs for share, cost in zip(load_K, costs)),
        round(sum(share * cost.params for share, cost in zip(load_K, costs))),
        round(sum(share * cost.bytes for share, cost in zip(load_K, costs))),
    )
    every = Cost(sum(c.macs for c in costs), sum(c.params for c in costs), sum(c.bytes for c in costs))
    shared = trunk + gate
    return shared + mean, shared + every
