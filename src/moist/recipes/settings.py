"""The configuration of the main job: every room's settings, nested."""

from __future__ import annotations

from pydantic import Field, model_validator

from moist.config import Settings
from moist.data import AugmentSettings, DataSettings, TransformSettings
from moist.mixture import InferenceSettings, MixtureSettings
from moist.students import StudentSettings
from moist.tasks import JointSettings, LossSettings
from moist.teachers import TeacherSettings
from moist.training import JobsSettings, TrainingSettings

__all__ = ["ControlsSettings", "DistillSettings", "SignalSettings"]


class SignalSettings(Settings):
    """What is kept of the teacher: ``views`` augmented views of each example (0 where nothing is augmented)."""

    views: int = Field(4, ge=0)
    top_k: int | None = Field(None, ge=1, description="keep only the k largest logits and the rest's mass")


class ControlsSettings(Settings):
    """What the mixture is measured against. Every control gets the mixture's training compute or more.

    ``frontier`` lists the active costs of single distilled students as multiples of the mixture's own.
    ``max_epochs`` bounds the epochs that equal compute asks of a control, for small students would need thousands;
    ``max_compute`` bounds what a larger student may spend, as a multiple of the mixture's training compute.
    """

    enabled: bool = True
    same_total: bool = True
    random_partition: bool = True
    class_domains: bool = True
    frontier: tuple[float, ...] = (0.5, 2.0, 4.0, 8.0)
    max_epochs: int = Field(1000, ge=1)
    max_compute: float = Field(10.0, ge=1)


class DistillSettings(Settings):
    """Everything that ``moist distill`` needs; ``data`` and ``teacher`` have no default."""

    name: str = "distill"
    seed: int = Field(0, ge=0)
    data: DataSettings
    transform: TransformSettings = TransformSettings()
    augment: AugmentSettings = AugmentSettings()
    teacher: TeacherSettings
    signals: SignalSettings = SignalSettings()
    student: StudentSettings
    mixture: MixtureSettings = MixtureSettings()
    joint: JointSettings = JointSettings()
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()
    controls: ControlsSettings = ControlsSettings()
    jobs: JobsSettings = JobsSettings()

    @model_validator(mode="after")
    def _check_top_k(self) -> DistillSettings:
        top_k = self.inference.top_k
        if top_k != "all" and not 1 <= top_k <= self.mixture.num_domains:
            raise ValueError(
                f"inference.top_k must be between 1 and mixture.num_domains={self.mixture.num_domains}, got {top_k}; "
                "lower it or add domains"
            )
        return self
