"""What of a study of mutual distillation to run, and the networks that it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from moist.config import Settings
from moist.data import DataSettings, TransformSettings
from moist.recipes.networks import NetworkSettings
from moist.students import StudentSettings
from moist.training import JobsSettings, TrainingSettings

__all__ = ["MutualStudySettings"]


class MutualStudySettings(Settings):
    """What of the study to run; ``data`` and ``student`` have no default."""

    data: tuple[str, ...] = Field(min_length=1, description="built-in data sets")
    train_rows: int = Field(
        1000, ge=2, description="rows drawn of each training part by each seed: few, so that every expert sees little"
    )
    validation: float = Field(0.25, gt=0, lt=1, description="fraction of the training part for choosing weights")
    transform: TransformSettings = TransformSettings()
    student: StudentSettings
    squared_weights: tuple[float, ...] = Field(
        (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0), min_length=1, description="weights tried of the squared form"
    )
    kl_weights: tuple[float, ...] = Field((), description="weights tried of the divergence; none: leave the form out")
    chosen_weights: tuple[float, ...] = Field(
        (),
        description="weights tried of the squared form among the experts that the gate chose; none: leave it out",
    )
    training: TrainingSettings = TrainingSettings()
    jobs: JobsSettings = JobsSettings()

    @field_validator("squared_weights", "kl_weights", "chosen_weights")
    @classmethod
    def _positive(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if any(weight <= 0 for weight in weights):
            raise ValueError(f"weights must be above 0 (0 is the plain mixture of experts), got {weights}; drop them")
        return weights

    @model_validator(mode="after")
    def _check_sparse(self) -> MutualStudySettings:
        if self.student.sparse is None:
            raise ValueError("the study is of experts, got a dense student; set student.sparse")
        return self

    @property
    def forms(self) -> dict[str, tuple[float, ...]]:
        """The weights to try of each form."""
        found = {"squared": self.squared_weights, "kl": self.kl_weights, "chosen": self.chosen_weights}
        return {form: weights for form, weights in found.items() if weights}

    def network(self, data: str, seed: int, mutual: Mapping[str, Any] | None = None) -> NetworkSettings:
        """Return the settings of one network with experts: seed, rows and order are the same whatever ``mutual`` is."""
        values: dict[str, Any] = {
            "name": data,
            "seed": seed,
            "data": DataSettings(name=data, limit=self.train_rows, validation=self.validation, split_seed=seed),
            "transform": self.transform,
            "student": self.student,
            "mutual_distillation": mutual,
            "training": self.training,
        }
        return NetworkSettings.model_validate(values)
