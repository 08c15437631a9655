"""What names a teacher in a configuration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from moist.config import Settings

__all__ = ["TeacherSettings"]

COMMON = frozenset({"kind", "name", "threads"})
OPTIONS: dict[str, frozenset[str]] = {
    "torch": frozenset(
        {"factory", "kwargs", "checkpoint", "strip_prefix", "mean", "std", "classes", "precision", "batch_size"}
    ),
    "huggingface": frozenset({"model", "classes", "max_length", "precision", "batch_size"}),
    "sentence-encoder": frozenset({"model", "package", "max_length", "C", "precision", "batch_size"}),
    "sklearn": frozenset({"estimator", "params", "factory", "kwargs", "preprocess", "seed"}),
    "lightgbm": frozenset({"params", "seed"}),
    "ensemble": frozenset({"members"}),
}
# Of each group exactly one must be given.
REQUIRED: dict[str, tuple[str, ...]] = {
    "torch": ("factory",),
    "huggingface": ("model",),
    "sentence-encoder": ("model", "package"),
    "sklearn": ("estimator", "factory"),
    "lightgbm": (),
    "ensemble": ("members",),
}


class TeacherSettings(Settings):
    """Which teacher, and how it reads the data; each kind has its own options, and refuses those of the others.

    Args:
        kind: ``torch``: any module, by ``factory``. ``huggingface``: an image or text classifier. ``sentence-encoder``:
            a frozen encoder with a logistic regression fitted on the training part. ``sklearn``, ``lightgbm``: a
            classifier fitted on the training part. ``ensemble``: the average of ``members``.
        name: how the teacher is called in reports; made from the other settings where it is left out.
        threads: threads for fitting and inference; as many as torch is set to where it is left out.
        factory: ``module:function`` that returns an ``nn.Module`` (torch) or a classifier (sklearn).
        kwargs: arguments of the factory.
        checkpoint: weights to load strictly: ``.safetensors``, else a file of ``torch.save`` with tensors alone
            (``.pt``, ``.pth``, ``.th``).
        strip_prefix: what is taken off the front of the checkpoint's names.
        mean: subtracted from each channel of an image in 0..1, before the division by ``std``.
        std: see ``mean``; one number per channel, or one for all.
        classes: names of the teacher's outputs in order, matched with the data's; where left out, a torch teacher
            counts as being in the data's order, and a Hugging Face teacher has its names in its own configuration.
        precision: ``bfloat16`` runs the network in mixed precision, the last layer in float32 where the module has
            ``embed`` and ``classify``.
        batch_size: examples per forward pass.
        model: local folder or hub name.
        package: installed Python package with a folder ``model``, instead of ``model``.
        max_length: tokens kept of a text.
        C: inverse strength of the logistic regression's L2 penalty.
        estimator: dotted path of a scikit-learn classifier, such as ``sklearn.neural_network.MLPClassifier``.
        params: its parameters; a mapping with a key ``estimator`` (and ``params``) stands for a nested estimator.
        preprocess: put imputation, one-hot codes and standardisation (tables), one common scale (images) or TF-IDF
            (texts) before the estimator.
        seed: random state of the fit, where ``params`` names none.
        members: the teachers that an ensemble averages.
    """

    kind: Literal["torch", "huggingface", "sentence-encoder", "sklearn", "lightgbm", "ensemble"]
    name: str | None = None
    threads: int | None = Field(default=None, ge=1)
    factory: str | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)
    checkpoint: str | None = None
    strip_prefix: str = "module."
    mean: list[float] = Field(default_factory=lambda: [0.0])
    std: list[float] = Field(default_factory=lambda: [1.0])
    classes: list[str] | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    batch_size: int = Field(default=256, ge=1)
    model: str | None = None
    package: str | None = None
    max_length: int = Field(default=128, ge=1)
    C: float = Field(default=10.0, gt=0)
    estimator: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    preprocess: bool = True
    seed: int = Field(default=0, ge=0)
    members: list[TeacherSettings] = Field(default_factory=list)

    @model_validator(mode="after")
    def _only_own_options(self) -> TeacherSettings:
        allowed = COMMON | OPTIONS[self.kind]
        for key, field in type(self).model_fields.items():
            if key not in allowed and getattr(self, key) != field.get_default(call_default_factory=True):
                known = ", ".join(sorted(allowed - {"kind"}))
                raise ValueError(f"kind {self.kind!r} has no option {key!r}; its options are {known}; remove {key!r}")
        return self

    @model_validator(mode="after")
    def _one_of_each_required(self) -> TeacherSettings:
        required = REQUIRED[self.kind]
        given = [key for key in required if getattr(self, key)]
        if required and len(given) != 1:
            names, received = " or ".join(required), ", ".join(given) or "none"
            raise ValueError(f"kind {self.kind!r} needs exactly one of {names}, got {received}; give one")
        return self

    @model_validator(mode="after")
    def _usable_scale(self) -> TeacherSettings:
        if not self.mean or not self.std or any(value <= 0 for value in self.std):
            raise ValueError(
                f"mean and std need a number per channel, std above 0; got mean {self.mean}, std {self.std}; mend them"
            )
        return self
