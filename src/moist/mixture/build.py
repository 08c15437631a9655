"""Build a mixture from settings, for training and for deployment, and count what an input costs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from moist.config import Settings
from moist.data import InputShape
from moist.evaluation import count_cost
from moist.mixture.early_exit import EarlyExitGate, ExitHead, ExitSettings, ExitTrunk, LargeTail
from moist.mixture.model import InferenceSettings, MixtureOfSpecialists
from moist.mixture.own_classes import build_tail, check_groups
from moist.mixture.pooling import pool_features
from moist.mixture.stacked import LoopedSpecialists, stack_if_possible
from moist.routing import Dispatcher
from moist.students import Student, StudentSettings, build_stages, create_student
from moist.students.dense import classifier
from moist.students.settings import ENCODERS
from moist.types import Cost, Routing, UserError

__all__ = [
    "InferenceSettings",
    "MixtureSettings",
    "RouterSettings",
    "TrainableMixture",
    "build_gate",
    "build_mixture",
    "mixture_cost",
    "start_gate_from_centres",
    "start_gate_from_head",
]

Reads = Literal["inputs", "trunk"]


class _Gate(NamedTuple):
    """The student that serves as a gate on inputs, and the kinds of inputs that it reads."""

    family: Literal["resnet", "mlp", "bag"]
    depth: int
    inputs: tuple[str, ...]


GATES = {
    "linear": _Gate("mlp", 0, ("tabular", "vision")),
    "mlp": _Gate("mlp", 1, ("tabular", "vision")),
    "cnn": _Gate("resnet", 1, ("vision",)),
    "bag": _Gate("bag", 0, ("text",)),
}


class RouterSettings(Settings):
    """The gate that scores the K specialists.

    It reads the inputs, or the shared trunk's features (averaged over space or words), which costs next to nothing.
    ``linear`` and ``mlp`` suit tables, flattened images and trunk features; ``cnn`` reads images, ``bag`` reads texts.
    """

    kind: Literal["linear", "mlp", "cnn", "bag"] = Field("linear", description="what the gate is made of")
    reads: Reads = Field(
        "inputs", description="what it reads: the inputs, or the features of the trunk (needs `mixture.trunk_stages`)"
    )
    width: int = Field(
        16, ge=1, description="hidden units (mlp), channels (cnn) or embedding dimensions (bag); linear has none"
    )


class MixtureSettings(Settings):
    """Which mixture to make.

    ``joint`` trains router and specialists together on the mixture likelihood. The other methods cut the data into
    domains first and train each specialist apart on its own: ``class-domains`` by the teacher's confusions,
    ``embedding-domains`` by k-means on its embeddings, ``random`` by chance, as a control. ``hinton-specialists`` has a
    generalist that answers, and specialists of overlapping sets of confusable classes that it calls to help.
    """

    method: Literal["joint", "class-domains", "embedding-domains", "random", "hinton-specialists"] = Field(
        "joint", description="train everything together, or cut the data into domains first, and by what"
    )
    num_domains: int = Field(8, ge=2, description="how many specialists; an input still runs `inference.top_k` of them")
    trunk_stages: int = Field(0, ge=0, description="first stages of the student that all specialists share")
    router: RouterSettings = RouterSettings()
    shared_start: float = Field(
        0.0, ge=0, lt=1, description="joint: share of the training in which all specialists are still one"
    )
    restart: float | None = Field(
        None,
        gt=0,
        description="joint: peak learning rate after the shared start, as a share of training.learning_rate; both "
        "parts then have a whole schedule of their own, so that specialists branch from a finished student; None: one "
        "schedule for both",
    )
    active: int | None = Field(
        None,
        ge=2,  # one alone would weigh 1 whatever the gate says, and teach it nothing
        description="joint: specialists that run on each example while training, drawn by the gate; None: all",
    )
    classes_each: int | None = Field(
        None, ge=2, description="hinton-specialists: classes in each one's set; none: twice an equal share"
    )
    top_n: int = Field(1, ge=1, description="hinton-specialists: how many of the generalist's best classes call them")
    outside: float = Field(0.0, ge=0, le=1, description="share of a specialist's data drawn from outside its domain")
    classes_per_specialist: int | None = Field(
        None,
        ge=2,
        description="classes that each specialist scores, and pays for: groups that the teacher confuses, overlapping "
        "where there is room; None: all",
    )
    exit: ExitSettings | None = Field(
        None,
        description="joint: specialists of unequal size, see `mixture.exit` below: the first is an early exit for easy "
        "inputs, the others are the student's large tails; None: all of one size",
    )

    @model_validator(mode="after")
    def _check_exit(self) -> MixtureSettings:
        if self.exit is None:
            return self
        alone = {"method": "joint", "shared_start": 0, "active": None, "classes_per_specialist": None}
        wrong = {name: getattr(self, name) for name, value in alone.items() if getattr(self, name) != value}
        if wrong:
            raise ValueError(
                f"mixture.exit goes with mixture.method=joint, all specialists trained from the start on all classes, "
                f"got {', '.join(f'{name}={value}' for name, value in wrong.items())}; leave these out"
            )
        if self.trunk_stages == 0 or self.router.reads != "trunk":
            raise ValueError(
                "mixture.exit branches off a shared trunk, and its router reads it, got "
                f"trunk_stages={self.trunk_stages} and router.reads={self.router.reads}; set trunk_stages to 1 or "
                "more and router.reads=trunk"
            )
        return self

    @model_validator(mode="after")
    def _check_own_classes(self) -> MixtureSettings:
        if self.classes_per_specialist is not None and (self.method == "embedding-domains" or self.active is not None):
            which = f"mixture.active={self.active}" if self.active is not None else f"mixture.method={self.method}"
            raise ValueError(
                "specialists that score only their own classes need domains made of classes, all of them trained at "
                f"once, got classes_per_specialist={self.classes_per_specialist} with {which}; leave out one of the two"
            )
        return self

    @model_validator(mode="after")
    def _check_restart(self) -> MixtureSettings:
        if self.restart is not None and self.shared_start == 0:
            raise ValueError(
                f"mixture.restart needs a shared start to go on from, got restart={self.restart} and shared_start=0; "
                "raise shared_start or leave restart out"
            )
        return self

    @model_validator(mode="after")
    def _check_whole(self) -> MixtureSettings:
        if self.method == "hinton-specialists" and (self.trunk_stages or self.classes_per_specialist is not None):
            raise ValueError(
                "mixture.method=hinton-specialists has whole specialists, the size of whose sets is classes_each, got "
                f"trunk_stages={self.trunk_stages} and classes_per_specialist={self.classes_per_specialist}; leave "
                "these out"
            )
        return self

    @model_validator(mode="after")
    def _check_active(self) -> MixtureSettings:
        if self.active is not None and self.active > self.num_domains:
            raise ValueError(
                f"mixture.active must be at most num_domains={self.num_domains}, got {self.active}; lower it or leave "
                "it out"
            )
        return self


class TrunkGate(nn.Module):
    """Score specialists from the trunk's features, averaged over space or words where they have such an axis.

    Args:
        features: (N, D), (N, D, H, W), or (N, L, D + 1) of texts, whose last channel is 1 at real words; a few of them,
            to know D.
        num_domains: K.
        hidden: units of a hidden layer; None for none.
    """

    def __init__(self, features: Tensor, num_domains: int, hidden: int | None) -> None:
        super().__init__()
        num_features = pool_features(features).shape[1]
        if hidden is None:
            self.layers: nn.Module = nn.Linear(num_features, num_domains)
        else:
            self.layers = nn.Sequential(nn.Linear(num_features, hidden), nn.ReLU(), nn.Linear(hidden, num_domains))

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.layers(pool_features(features))
        return result


def build_gate(settings: RouterSettings, shape: InputShape, num_domains: int, features: Tensor) -> nn.Module:
    """Build the gate.

    Args:
        settings: what kind, and what it reads.
        shape: what inputs look like.
        num_domains: K.
        features: (N, ...) the trunk's features of a few inputs.

    Raises:
        UserError: the kind does not suit what the gate reads.
    """
    if settings.reads == "trunk":
        if settings.kind not in ("linear", "mlp"):
            raise UserError(
                f"a router that reads trunk features is 'linear' or 'mlp', got {settings.kind!r}; "
                "set mixture.router.kind=linear or mixture.router.reads=inputs"
            )
        return TrunkGate(features, num_domains, settings.width if settings.kind == "mlp" else None)
    suits = [kind for kind, gate in GATES.items() if shape.kind in gate.inputs]
    if settings.kind not in suits:
        raise UserError(
            f"a router that reads {shape.kind} inputs is of kind {' or '.join(suits)}, got {settings.kind!r}; set "
            f"mixture.router.kind={suits[0]}"
        )
    gate = GATES[settings.kind]
    return create_student(
        StudentSettings(family=gate.family, width=settings.width, depth=gate.depth), shape, num_domains
    )


def start_gate_from_centres(gate: nn.Module, centres_KD: Tensor, variance: float) -> None:
    """Start a linear gate on trunk features from K centres, so that each specialist begins with a region of its own.

    The gate's scores become the log posterior of equal spherical Gaussians at the centres; other gates are left alone.

    Args:
        gate: a gate from :func:`build_gate`.
        centres_KD: (K, D) centres of clusters of pooled trunk features.
        variance: of the features around their centre, per dimension.

    Royer et al. 2022, "Revisiting Single-gated Mixtures of Experts" (arXiv 2304.05497): a gate from a clustering.
    """
    if not isinstance(gate, TrunkGate) or not isinstance(gate.layers, nn.Linear):
        return
    with torch.no_grad():
        gate.layers.weight.copy_(centres_KD / variance)
        gate.layers.bias.copy_(-centres_KD.square().sum(dim=1) / (2 * variance))


@torch.no_grad()
def start_gate_from_head(gate: nn.Module, tail: nn.Module, groups: Sequence[Sequence[int]]) -> None:
    """Start a linear gate on trunk features from a trained head: a group's score is the mean of its classes' logits.

    Other gates are left alone, and so is any gate where the tail has more to it than a head.

    Args:
        gate: a gate from :func:`build_gate`.
        tail: the generalist's stages behind the trunk.
        groups: the classes of each specialist.
    """
    heads = [part for part in tail.modules() if isinstance(part, nn.Linear)]
    whole = sum(parameter.numel() for parameter in tail.parameters())
    if not isinstance(gate, TrunkGate) or not isinstance(gate.layers, nn.Linear) or not heads:
        return
    if whole == sum(parameter.numel() for parameter in heads[-1].parameters()):
        gate.layers.weight.copy_(torch.stack([heads[-1].weight[list(own)].mean(dim=0) for own in groups]))
        gate.layers.bias.copy_(torch.stack([heads[-1].bias[list(own)].mean() for own in groups]))


class TrainableMixture(nn.Module):
    """Trunk, gate and specialists in the form that trains fastest; :meth:`deploy` gives the mixture itself.

    Args:
        trunk: shared stages.
        gate: scores (N, K).
        members: K specialists of one shape.
        reads: what the gate reads.
        sparse: keep the specialists apart, so that :meth:`forward_drawn` can run some of them.
    """

    def __init__(
        self, trunk: nn.Module, gate: nn.Module, members: Sequence[nn.Module], reads: Reads, *, sparse: bool = False
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.gate = gate
        self.specialists = LoopedSpecialists(members) if sparse else stack_if_possible(members)
        self.reads: Reads = reads

    def forward_all(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gate's scores (N, K) and all specialists' logits (N, K, C)."""
        features = self.trunk(inputs)
        scores: Tensor = self.gate(features if self.reads == "trunk" else inputs)
        return scores, self.specialists(features)

    def forward_drawn(self, inputs: Tensor, num_drawn: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw specialists for each example from the gate, without replacement, and run only those.

        Returns:
            The gate's scores (N, K), the drawn specialists (N, num_drawn), and their logits (N, num_drawn, C).

        Kool, van Hoof and Welling 2019, "Stochastic Beams and Where to Find Them" (arXiv 1903.06059), section 2.3: the
        largest of the scores plus Gumbel noise are such a draw.
        """
        features = self.trunk(inputs)
        scores: Tensor = self.gate(features if self.reads == "trunk" else inputs).float()
        noise = -torch.empty_like(scores).exponential_().log()
        drawn = (scores.detach() + noise).topk(num_drawn, dim=1).indices
        dispatcher = Dispatcher(Routing(scores, drawn, torch.ones_like(scores[:, :num_drawn])))
        outputs = [
            member(rows) if len(rows) else None
            for member, rows in zip(self.specialists.unstack(), dispatcher.dispatch(features))
        ]
        return scores, drawn, dispatcher.collect(outputs)

    def deploy(self) -> MixtureOfSpecialists:
        """Return the mixture that runs only what it routes to, in evaluation mode; it shares trunk and gate."""
        specialists = nn.ModuleList(self.specialists.unstack())
        return MixtureOfSpecialists(self.trunk, self.gate, specialists, reads=self.reads).eval()


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
    members = [head, *(LargeTail(tail, features.shape[1:], head) for tail in tails)]
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
