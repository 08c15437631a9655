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

__all__ = ["BudgetSettings", "ControlsSettings", "DistillSettings", "SignalSettings"]


class SignalSettings(Settings):
    """What is kept of the teacher, for each example and each view of it."""

    views: int = Field(
        4, ge=0, description="augmented views of each training example; without `augment` there is the plain one alone"
    )
    top_k: int | None = Field(None, ge=1, description="keep only the k largest logits and the rest's mass")


class ControlsSettings(Settings):
    """What the mixture is measured against. Every control gets the mixture's training compute or more, within limits.

    The first control is the single distilled student of the mixture's active cost; the others can be left out.
    """

    enabled: bool = Field(True, description="train controls at all; without them there is no verdict")
    same_total: bool = Field(True, description="a single student with as many parameters as the whole mixture")
    random_partition: bool = Field(True, description="a mixture of the same shape whose domains are drawn by chance")
    class_domains: bool = Field(
        True, description="a mixture whose domains are groups of classes that the teacher confuses"
    )
    frontier: tuple[float, ...] = Field(
        (0.5, 2.0, 4.0, 8.0),
        description="active costs of further single students, as multiples of the mixture's own",
    )
    max_epochs: int = Field(
        1000, ge=1, description="most epochs of a single student; equal compute would ask thousands of a small one"
    )
    max_compute: float = Field(
        10.0, ge=1, description="most training compute of a larger single student, as a multiple of the mixture's"
    )


class BudgetSettings(Settings):
    """What an input may cost, instead of a shape: number of domains, trunk and widths are then searched for."""

    macs: float | None = Field(
        None,
        gt=0,
        description="mean active multiply-accumulates per input; the search takes about as long as one more training "
        "of the mixture for every third shape that it tries, and chooses on the validation part",
    )


class DistillSettings(Settings):
    """Everything that ``moist distill`` needs; ``data`` and ``teacher`` have no default."""

    name: str = Field("distill", description="what results and report call the run")
    seed: int = Field(0, ge=0, description="seed of everything that is trained; data and teacher have their own")
    data: DataSettings
    transform: TransformSettings = TransformSettings()
    augment: AugmentSettings = AugmentSettings()
    teacher: TeacherSettings
    signals: SignalSettings = SignalSettings()
    student: StudentSettings
    mixture: MixtureSettings = MixtureSettings()
    budget: BudgetSettings = BudgetSettings()
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

    @model_validator(mode="after")
    def _check_own_classes(self) -> DistillSettings:
        own = self.mixture.classes_per_specialist
        if own is not None and self.mixture.method == "joint" and self.joint.sharpen > 0:
            raise ValueError(
                "specialists that score only their own classes cannot train on the loss of one draw from the gate, for "
                "the one drawn may not know the right class, got "
                f"mixture.classes_per_specialist={own} with joint.sharpen={self.joint.sharpen:g}; set joint.sharpen=0"
            )
        return self
