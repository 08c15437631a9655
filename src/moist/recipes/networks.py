"""Single networks, dense or sparse, trained on labels: their settings, and the folder that holds one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from safetensors.torch import load_file, save_file
from torch import Tensor

from moist.config import Settings, dump_config, load_config
from moist.data import (
    AugmentSettings,
    DataSettings,
    DataSplits,
    IndexedDataset,
    Loader,
    Transform,
    TransformSettings,
    fit_transform,
    load_dataset,
)
from moist.evaluation import count_cost, evaluate
from moist.storage import default_cache_dir, read_json, write_atomic, write_json
from moist.students import Student, StudentSettings, create_student
from moist.tasks import MutualSettings
from moist.training import TrainingSettings
from moist.types import UserError

__all__ = ["Network", "NetworkData", "NetworkSettings", "claim_checkpoint", "load_data", "open_network", "save_network"]

WEIGHTS, CONFIG, CHECKPOINT = "model.safetensors", "config.yaml", "checkpoint.pt"
BATCH = 512


class NetworkSettings(Settings):
    """Everything that ``moist train-moe`` needs; ``data`` and ``student`` have no default."""

    name: str = Field("network", description="what results call the run")
    seed: int = Field(0, ge=0, description="seed of everything that is trained; data have their own")
    data: DataSettings
    transform: TransformSettings = TransformSettings()
    augment: AugmentSettings = AugmentSettings()
    views: int = Field(1000, ge=1, description="different augmented views of each training image")
    student: StudentSettings
    mutual_distillation: MutualSettings | None = Field(
        None, description="let experts learn from each other (MoDE); None for a plain mixture of experts"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of a label's mass spread over all classes")
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _check_mutual(self) -> NetworkSettings:
        if self.mutual_distillation is not None and self.student.sparse is None:
            raise ValueError("mutual_distillation needs experts, got a dense student; set student.sparse or drop it")
        return self


@dataclass(frozen=True)
class NetworkData:
    """The data that a network was or will be trained on, as it reads them."""

    settings: NetworkSettings
    splits: DataSplits
    transform: Transform

    @property
    def num_classes(self) -> int:
        return len(self.splits.train.classes)

    def part(self, split: str) -> IndexedDataset:
        """Return a part with labels.

        Raises:
            UserError: there is none.
        """
        part: IndexedDataset | None = getattr(self.splits, split)
        if part is None or part.target is None or not len(part):
            raise UserError(f"{self.splits.train.name} has no labelled {split} part; set data.test or name a test_path")
        return part

    def inputs(self, split: str, limit: int | None = None) -> Tensor:
        """Return the plain inputs (N, ...) of a part as a network reads them, drawn evenly from it."""
        part = self.part(split)
        chosen = part.take(_evenly(len(part), limit)).inputs
        encoded = torch.from_numpy(np.ascontiguousarray(self.transform.encode(chosen)))
        return torch.cat([self.transform.to_tensor(each) for each in torch.split(encoded, BATCH)])

    def targets(self, split: str, limit: int | None = None) -> np.ndarray:
        """Return the classes (N,) of the rows that :meth:`inputs` gives."""
        target = self.part(split).target
        assert target is not None
        return np.asarray(target[_evenly(len(target), limit)])

    def loader(self, settings: NetworkSettings | None = None) -> Loader:
        """Return the training batches."""
        made = settings or self.settings
        augmented = self.splits.train.kind == "vision" and made.augment != AugmentSettings()
        return Loader(
            self.splits.train,
            self.transform,
            batch_size=made.training.batch_size,
            seed=made.seed,
            views=made.views if augmented else 0,
            augment=made.augment if augmented else None,
        )

    def create(self, student: StudentSettings | None = None) -> Student:
        """Return a fresh network from the settings' seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            return create_student(student or self.settings.student, self.transform.input_shape, self.num_classes)


def _evenly(count: int, limit: int | None) -> np.ndarray:
    """Return at most ``limit`` of ``count`` row numbers, evenly spaced."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, limit).astype(np.int64)


def load_data(settings: NetworkSettings, *, quiet: bool = False) -> NetworkData:
    """Load and split the data, and fit how a network reads them."""
    splits = load_dataset(settings.data, default_cache_dir(), quiet=quiet)
    if splits.train.target is None:
        raise UserError("training on labels needs data with labels, got none; name data.label_column")
    return NetworkData(settings, splits, fit_transform(splits.train, settings.transform))


@dataclass(frozen=True)
class Network:
    """A trained network and its data."""

    data: NetworkData
    student: Student

    @property
    def settings(self) -> NetworkSettings:
        return self.data.settings

    @torch.inference_mode()
    def logits(self, split: str) -> np.ndarray:
        """Return the logits (N, C) of a part."""
        self.student.eval()
        parts = [self.student(rows) for rows in torch.split(self._inputs[split], BATCH)]
        result: np.ndarray = torch.cat(parts).float().numpy()
        return result

    @cached_property
    def _inputs(self) -> dict[str, Tensor]:
        return {split: self.data.inputs(split) for split in ("validation", "test")}

    def measure(self, split: str = "test") -> dict[str, Any]:
        """Return accuracy, calibration and costs, as a system of a result file with one seed."""
        logits = torch.from_numpy(self.logits(split))
        score = evaluate(logits.softmax(dim=1).numpy(), self.data.targets(split))
        cost = count_cost(self.student, self.data.inputs(split, 256))
        parameters = list(self.student.parameters())
        return {
            "accuracy": {"mean": score.accuracy, "std": 0.0, "values": [score.accuracy]},
            "nll": score.nll,
            "ece": score.ece,
            "active_macs": cost.macs,
            "active_params": cost.params,
            "total_params": sum(parameter.numel() for parameter in parameters),
            "bytes": sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        }


def save_network(folder: Path, settings: NetworkSettings, student: Student) -> None:
    """Write a network's weights and settings into ``folder``; the weights come last."""
    folder.mkdir(parents=True, exist_ok=True)
    dump_config(settings, folder / CONFIG)
    state = {name: value.contiguous().clone() for name, value in student.state_dict().items()}
    write_atomic(folder / WEIGHTS, lambda partial: save_file(state, partial))


def open_network(folder: Path, *, quiet: bool = False) -> Network:
    """Open what :func:`save_network` wrote; the data are loaded anew from their settings.

    Raises:
        UserError: the folder holds no trained network.
    """
    if not (folder / WEIGHTS).exists() or not (folder / CONFIG).exists():
        raise UserError(f"{folder} must be the folder of a trained network, and holds none; run moist train-moe first")
    data = load_data(load_config(NetworkSettings, folder / CONFIG), quiet=quiet)
    student = data.create()
    student.load_state_dict(load_file(folder / WEIGHTS))
    return Network(data, student.eval())


def claim_checkpoint(folder: Path, key: str) -> None:
    """Drop a checkpoint of other settings, and remember whose the next one is."""
    marker = folder / "key.json"
    if not marker.exists() or read_json(marker).get("key") != key:
        (folder / CHECKPOINT).unlink(missing_ok=True)
        write_json(marker, {"key": key})
