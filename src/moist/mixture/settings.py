"""The settings of a mixture and of its router."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from moist.config import Settings
from moist.mixture.early_exit import ExitSettings

__all__ = ["MixtureSettings", "Reads", "RouterSettings"]

Reads = Literal["inputs", "trunk"]


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
    least_share: float = Field(
        0.0,
        ge=0,
        le=0.9,
        description="joint: part of an equal share of the training inputs that each specialist serves at least: the "
        "trained router's scores of those that fall short are raised until they do; 0 leaves them as they are",
    )
    classes_each: int | None = Field(
        None, ge=2, description="hinton-specialists: classes in each one's set; none: twice an equal share"
    )
    top_n: int = Field(1, ge=1, description="hinton-specialists: how many of the generalist's best classes call them")
    dustbins: Literal["fitted", "log-proportion"] = Field(
        "fitted",
        description="hinton-specialists: correct the dustbins' logits so that the ensemble's answers on the "
        "validation part are most likely right, or as published, by how much rarer the other classes were in training",
    )
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

    def shared_epochs(self, epochs: int) -> int:
        """Return how many of the epochs train one student, from which all specialists branch; one is left to them."""
        return max(0, min(round(self.shared_start * epochs), epochs - 1))

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
    def _check_least_share(self) -> MixtureSettings:
        if self.least_share and (self.method != "joint" or self.exit is not None):
            raise ValueError(
                "mixture.least_share is for specialists of one size that are trained jointly, got "
                f"least_share={self.least_share:g} with method={self.method}"
                f"{'' if self.exit is None else ' and an exit'}; leave it out"
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
