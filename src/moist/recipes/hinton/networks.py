"""The one training job of these studies: a network from labels or from teachers' soft targets; what it says is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from moist.config import Settings, load_config
from moist.data import (
    AugmentSettings,
    DataSettings,
    DataSplits,
    IndexedDataset,
    InputShape,
    Loader,
    Transform,
    TransformSettings,
    augment,
    fit_transform,
    load_dataset,
)
from moist.progress import Advance
from moist.recipes.hinton.mixing import MixedImages
from moist.recipes.hinton.rows import RowsSettings, choose_rows
from moist.storage import default_cache_dir, read_json, write_atomic, write_json
from moist.students import StudentSettings, create_student
from moist.tasks import DistillTask, LossSettings, MoETask
from moist.training import BatchSource, Job, TrainingSettings, fit
from moist.types import Batch, TeacherSignal

__all__ = [
    "LiveTargets",
    "NetworkSettings",
    "SoftTargets",
    "load_network",
    "load_parts",
    "log_mean_probabilities",
    "network_job",
    "read_logits",
    "read_signals",
    "run_in_parts",
    "save_tensors",
    "train_network",
]

UNLIMITED = 1_000_003  # views of each example, where every epoch shall see another


class NetworkSettings(Settings):
    """One network: its data, shape and training.

    Args:
        data: the data set.
        whole: train on the validation rows too, as the paper does; then there is no curve.
        transform: how inputs are read.
        rows: which training rows.
        student: the network.
        training: how it is trained.
        average: fraction of its steps at the end whose weights are averaged; the learning rate then does not fall.
        loss: how it follows its teachers, where it has any.
        augment: how training images vary.
        views: augmented views of each image; 0 for one never seen before in every epoch.
        mixed: share of the images that are mixed with another, for teachers that are asked live.
        signals: keep what the trained network says of every training row, under its plain view and these.
        signal_views: views of each row that it is kept of, besides the plain one; None for those of training.
        signal_augment: how rows vary in these views; None for as in training.
        live: the shape of its teachers where they are asked about every view; None to read what they kept.
        curve: how many times during training the validation part is measured.
        seed: of everything random.
    """

    data: DataSettings
    whole: bool = True
    transform: TransformSettings = TransformSettings()
    rows: RowsSettings = RowsSettings()
    student: StudentSettings
    training: TrainingSettings
    average: float = Field(0.0, ge=0, lt=1)
    loss: LossSettings = LossSettings()
    augment: AugmentSettings = AugmentSettings()
    views: int = 0
    mixed: float = Field(0.0, ge=0, le=1)
    signals: bool = False
    signal_views: int | None = None
    signal_augment: AugmentSettings | None = None
    live: StudentSettings | None = None
    curve: int = 0
    seed: int = 0

    @model_validator(mode="after")
    def _check_mixed(self) -> NetworkSettings:
        if self.mixed and self.live is None:
            raise ValueError(
                f"mixed must be 0 without live teachers, since only they can be asked about mixes, got {self.mixed}; "
                "set it to 0 or give live"
            )
        return self


class SoftTargets:
    """What teachers say of training rows: the logarithm of their mean probabilities; one teacher's logits as they are.

    Args:
        folders: of the teachers' jobs, each with ``signals.safetensors``: logits (V, N, C) by view and row.
    """

    def __init__(self, folders: list[Path]) -> None:
        logits = [load_file(folder / "signals.safetensors")["logits"] for folder in folders]
        self.logits_VNC = logits[0] if len(logits) == 1 else log_mean_probabilities(logits)

    def __call__(self, batch: Batch) -> TeacherSignal:
        """Return the targets of a batch."""
        return TeacherSignal(self.logits_VNC[batch.view, batch.index])


class LiveTargets:
    """What finished networks say of the view that a batch shows; of several the log of their mean probabilities.

    Args:
        folders: of the teachers' jobs, each with ``model.safetensors``.
        teacher: their shape.
        shape: what they read.
        num_classes: C.
        precision: of training; in bfloat16 they must be asked under autocast, whose casts of their linear layers'
            weights are then made once instead of for every batch.
    """

    def __init__(
        self,
        folders: list[Path],
        teacher: StudentSettings,
        shape: InputShape,
        num_classes: int,
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        self.teachers = [load_network(teacher, shape, num_classes, folder) for folder in folders]
        if precision == "bfloat16":
            for layer in (layer for network in self.teachers for layer in network.modules()):
                if isinstance(layer, nn.Linear):
                    layer.bfloat16()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> TeacherSignal:
        """Return the targets of a batch."""
        told = [teacher(batch.inputs).float() for teacher in self.teachers]
        return TeacherSignal(told[0] if len(told) == 1 else log_mean_probabilities(told))


def log_mean_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """Return the logarithm of several networks' mean probabilities (..., C)."""
    stacked = torch.stack([one.log_softmax(dim=-1) for one in logits])
    return stacked.logsumexp(dim=0) - math.log(len(logits))


def network_job(
    name: str,
    settings: NetworkSettings,
    folder: Path,
    teachers: Mapping[str, Path] | None = None,
    start: Job | None = None,
) -> Job:
    """Return the job that trains a network into ``folder``, after its teachers (name of job to folder).

    Args:
        name: of the job.
        settings: of the network.
        folder: of the job.
        teachers: whose soft targets it learns; labels without any.
        start: a job that leaves weights of the network's shape to begin with; None for random ones.
    """
    teachers = teachers or {}
    payload: dict[str, Any] = {
        "moist": version("moist"),
        "network": settings.model_dump(mode="json", exclude_defaults=True),
        "teachers": [str(path) for path in teachers.values()],
    }
    after = tuple(teachers)
    if start is not None:
        payload["start"] = str(start.folder)
        after = (*after, start.name)
    return Job(name, "moist.recipes.hinton.networks:train_network", payload, folder, after)


def load_parts(settings: NetworkSettings) -> tuple[DataSplits, Transform]:
    """Load the data, the validation rows joined to the training rows where the settings say so, and the transform."""
    splits = load_dataset(settings.data, default_cache_dir(), quiet=True)
    if settings.whole:
        splits = replace(splits, train=_joined(splits.train, splits.validation))
    return splits, fit_transform(splits.train, settings.transform)


def _joined(first: IndexedDataset, second: IndexedDataset) -> IndexedDataset:
    inputs = np.concatenate([first.inputs, second.inputs])
    assert first.target is not None
    assert second.target is not None
    return replace(first, inputs=inputs, target=np.concatenate([first.target, second.target]), fingerprint="")


def train_network(payload: dict[str, Any], folder: Path, advance: Advance) -> dict[str, Any]:
    """Train one network; leave its weights and what it says of the test part (and the training part) in ``folder``."""
    settings = load_config(NetworkSettings, payload["network"])
    splits, transform = load_parts(settings)
    torch.manual_seed(settings.seed)
    student = create_student(settings.student, transform.input_shape, len(splits.train.classes))
    if "start" in payload:
        student.load_state_dict(load_file(Path(payload["start"]) / "model.safetensors"))
    teachers = [Path(path) for path in payload["teachers"]]
    task = _task(settings, student, teachers, transform, len(splits.train.classes))
    loader = _loader(settings, splits.train, transform)
    learned = _fit_with_curve(task, student, loader, settings, splits.validation, transform, folder, advance)
    return _finish(settings, student.eval(), splits, transform, folder) | learned


def _task(
    settings: NetworkSettings, student: nn.Module, teachers: list[Path], transform: Transform, num_classes: int
) -> nn.Module:
    if not teachers:
        return MoETask(student, None)
    if settings.live is None:
        return DistillTask(student, SoftTargets(teachers), settings.loss)
    live = LiveTargets(teachers, settings.live, transform.input_shape, num_classes, settings.training.precision)
    return DistillTask(student, live, settings.loss)


def _fit_with_curve(
    task: nn.Module,
    student: nn.Module,
    loader: BatchSource,
    settings: NetworkSettings,
    validation: IndexedDataset,
    transform: Transform,
    folder: Path,
    advance: Advance,
) -> dict[str, Any]:
    """Train to the end, pausing to be measured; points before the last are kept in ``folder`` for a resumed run."""
    stops = _stops(settings, len(loader))
    path = folder / "curve.json"
    curve: list[dict[str, float]] = read_json(path) if path.exists() else []
    history: list[dict[str, float]] = []
    for stop in stops[len(curve) :]:
        history = fit(
            task,
            loader,
            settings.training,
            seed=settings.seed,
            checkpoint=folder / "checkpoint.pt",
            advance=advance if not history else _only_steps(advance),
            max_steps=stop,
            average=settings.average,
        )
        if settings.curve:
            curve.append({"epoch": stop / len(loader), **_measured(student, validation, transform)})
            student.train()
        if settings.curve and stop != stops[-1]:
            write_json(path, curve)
    return {"history": history, "curve": curve}


def _only_steps(advance: Advance) -> Advance:
    """Return what passes on single steps, not how far training had come when it went on."""

    def step(steps: float = 1, note: str = "", total: float | None = None) -> None:
        if total is None:
            advance(steps, note)

    return step


def _loader(settings: NetworkSettings, train: IndexedDataset, transform: Transform) -> BatchSource:
    varied = settings.augment.active
    loader = Loader(
        train,
        transform,
        batch_size=settings.training.batch_size,
        seed=settings.seed,
        views=(settings.views or UNLIMITED) if varied else 0,
        augment=settings.augment if varied else None,
        rows=choose_rows(settings.rows, train.target),
    )
    return MixedImages(loader, settings.mixed, settings.seed) if settings.mixed else loader


def _stops(settings: NetworkSettings, steps_per_epoch: int) -> list[int]:
    """Return the numbers of steps after which training pauses to be measured; the last is the end."""
    total = settings.training.epochs * steps_per_epoch
    points = max(1, min(settings.curve, settings.training.epochs))
    return sorted(
        {round(settings.training.epochs * (k + 1) / points) * steps_per_epoch for k in range(points)} | {total}
    )


def _finish(
    settings: NetworkSettings, student: nn.Module, splits: DataSplits, transform: Transform, folder: Path
) -> dict[str, Any]:
    assert splits.test is not None
    save_tensors(
        folder / "model.safetensors", {name: value.contiguous() for name, value in student.state_dict().items()}
    )
    save_tensors(
        folder / "test.safetensors", {"logits": run_in_parts(student, encode(splits.test, transform), transform)}
    )
    if settings.signals:
        views = range((settings.views if settings.signal_views is None else settings.signal_views) + 1)
        varied = settings.signal_augment or settings.augment
        encoded = encode(splits.train, transform)
        told = [run_in_parts(student, encoded, transform, varied, view) for view in views]
        save_tensors(folder / "signals.safetensors", {"logits": torch.stack(told)})
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return _measured(student, splits.test, transform)


def load_network(student: StudentSettings, shape: InputShape, num_classes: int, folder: Path) -> nn.Module:
    """Return a network that a finished job left in ``folder``, in evaluation mode; no random number is drawn."""
    with torch.random.fork_rng(devices=[]):
        network = create_student(student, shape, num_classes)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors to a safetensors file, whole or not at all."""
    write_atomic(path, lambda partial: save_file(tensors, partial))


def read_logits(folder: Path) -> Tensor:
    """Return the logits (N, C) that a finished job left of the test part."""
    return load_file(folder / "test.safetensors")["logits"]


def read_signals(folder: Path) -> Tensor:
    """Return the logits (N, C) that a finished job with ``signals`` left of the training rows, under the plain view."""
    return load_file(folder / "signals.safetensors")["logits"][0]


def encode(part: IndexedDataset, transform: Transform) -> Tensor:
    """Return a part's inputs as one tensor, before ``transform.to_tensor``."""
    return torch.from_numpy(np.require(transform.encode(part.inputs), requirements="W"))


@torch.inference_mode()
def run_in_parts(
    student: Callable[[Tensor], Tensor],
    encoded: Tensor,
    transform: Transform,
    settings: AugmentSettings | None = None,
    view: int = 0,
    size: int = 1000,
) -> Tensor:
    """Return the logits (N, C) of encoded inputs, under one view; call it with a student in evaluation mode."""
    parts = []
    for start in range(0, len(encoded), size):
        rows = encoded[start : start + size]
        if settings is not None and view:
            index = torch.arange(start, start + len(rows))
            rows = augment(rows, index, torch.full_like(index, view), settings, encoded.numpy())
        parts.append(student(transform.to_tensor(rows)).float())
    return torch.cat(parts)


def _measured(student: nn.Module, part: IndexedDataset, transform: Transform) -> dict[str, float]:
    """Return accuracy and log loss (nats) on a part."""
    assert part.target is not None
    student.eval()
    logits, target = run_in_parts(student, encode(part, transform), transform), torch.from_numpy(part.target)
    accuracy = (logits.argmax(dim=1) == target).double().mean()
    return {"accuracy": accuracy.item(), "nll": F.cross_entropy(logits, target).item()}
