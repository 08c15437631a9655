"""What of a study of integration to run, and the networks that it trains."""

from __future__ import annotations

from pydantic import Field, model_validator

from moist.config import Settings
from moist.data import AugmentSettings, DataSettings, TransformSettings
from moist.integration import GatherMethod, UnitScore
from moist.recipes.convert import RefineSettings
from moist.recipes.networks import NetworkSettings
from moist.students import StudentSettings
from moist.training import JobsSettings, TrainingSettings

__all__ = ["OnesSettings"]


class OnesSettings(Settings):
    """What of the study to run; ``data`` and ``student`` have no default."""

    data: tuple[str, ...] = Field(min_length=1, description="built-in data sets")
    limit: int | None = Field(None, ge=2, description="most rows of each training part; None: all")
    transform: TransformSettings = TransformSettings()
    augment: AugmentSettings = AugmentSettings()
    student: StudentSettings
    origin: TrainingSettings | None = Field(
        None,
        description="training of a dense network that the one with experts grows from, as copies of its layers; None "
        "for experts of random weights",
    )
    training: TrainingSettings = Field(
        TrainingSettings(), description="of the network with experts, and of the dense ones but for their epochs"
    )
    refine: RefineSettings = Field(
        RefineSettings(), description="distillation from the experts, of gathered students and of a fresh one"
    )
    short: tuple[int, ...] = Field(
        (), description="shorter distillations to run too, in epochs: how many of them does a good start save?"
    )
    methods: tuple[GatherMethod, ...] = Field(
        ("sum", "average", "top-k", "svd", "least-squares"), min_length=1, description="gathers to compare"
    )
    unit_score: UnitScore = Field("activation", description="what makes a hidden unit worth keeping (top-k)")
    jobs: JobsSettings = JobsSettings()

    @model_validator(mode="after")
    def _check_sparse(self) -> OnesSettings:
        if self.student.sparse is None:
            raise ValueError("the study is of experts, got a dense student; set student.sparse")
        return self

    @model_validator(mode="after")
    def _check_short(self) -> OnesSettings:
        longest = self.refine.training.epochs
        if any(not 0 < epochs < longest for epochs in self.short) or len(set(self.short)) < len(self.short):
            raise ValueError(
                f"short must be different numbers of epochs, each from 1 to below refine.training.epochs={longest}, "
                f"got {list(self.short)}; change them"
            )
        return self

    @property
    def lengths(self) -> tuple[int, ...]:
        """Epochs of every distillation, the longest last."""
        return *sorted(self.short), self.refine.training.epochs

    def network(self, data: str, seed: int) -> NetworkSettings:
        """Return the settings of one network with experts."""
        return NetworkSettings(
            name=data,
            seed=seed,
            data=DataSettings(name=data, limit=self.limit),
            transform=self.transform,
            augment=self.augment,
            student=self.student,
            training=self.training,
        )

    def refining(self, seed: int, epochs: int | None = None) -> RefineSettings:
        """Return how a student of one seed is refined, for ``epochs`` or the longest time."""
        training = self.refine.training.model_copy(update={} if epochs is None else {"epochs": epochs})
        return self.refine.model_copy(update={"seed": seed, "training": training})
