"""What every stage of a run reads: data, transform and teacher signals, opened the same way in any process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moist.config import load_config
from moist.data import (
    AugmentSettings,
    DataSplits,
    IndexedDataset,
    Loader,
    Transform,
    fit_transform,
    load_dataset,
)
from moist.progress import say
from moist.recipes.settings import DistillSettings
from moist.storage import content_key, default_cache_dir, read_json, write_json
from moist.students import check_reads
from moist.teachers import CachedTeacher, Teacher, cache_teacher, load_teacher, open_signal_cache
from moist.types import UserError

__all__ = ["Workspace", "prepare"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Workspace:
    """Data, transform and cached teacher of one run.

    Args:
        settings: the run's settings.
        splits: training, validation and test parts.
        transform: how students read inputs, fitted on the training part.
        signal_paths: folder of the teacher's signals for each part.
        teacher: what is known of the teacher: name, parameters, MACs.
    """

    settings: DistillSettings
    splits: DataSplits
    transform: Transform
    signal_paths: dict[str, str]
    teacher: dict[str, Any]

    @property
    def num_classes(self) -> int:
        return len(self.splits.train.classes)

    @property
    def views(self) -> int:
        """Augmented views of each training example; 0 where nothing is augmented."""
        return self.settings.signals.views if self.augmented else 0

    @property
    def augmented(self) -> bool:
        """Whether training inputs are augmented at all."""
        return self.splits.train.kind == "vision" and self.settings.augment != AugmentSettings()

    def signals(self, split: str = "train") -> CachedTeacher:
        """Return the cached teacher of one part."""
        return CachedTeacher(open_signal_cache(Path(self.signal_paths[split])))

    def teacher_logits(self, split: str) -> np.ndarray:
        """Return the teacher's logits (N, C) of the plain view of one part."""
        cache = open_signal_cache(Path(self.signal_paths[split]))
        rows = np.arange(cache.num_rows)
        return cache.logits(rows, np.zeros_like(rows))

    def loader(self, seed: int, batch_size: int, rows: np.ndarray | None = None) -> Loader:
        """Return the training batches for one seed."""
        return Loader(
            self.splits.train,
            self.transform,
            batch_size=batch_size,
            seed=seed,
            views=self.views,
            augment=self.settings.augment if self.augmented else None,
            rows=rows,
        )

    def part(self, split: str) -> IndexedDataset | None:
        """Return one part of the data, or None where there is no such part."""
        part: IndexedDataset | None = getattr(self.splits, split)
        return part

    def inputs(self, split: str, limit: int | None = None) -> Tensor:
        """Return the encoded inputs (N, ...) of one part, before ``transform.to_tensor``."""
        part = self.part(split)
        assert part is not None
        return torch.from_numpy(np.ascontiguousarray(self.transform.encode(part.inputs[:limit])))

    def example(self, limit: int = 2) -> Tensor:
        """Return a few training inputs as a model reads them."""
        return self.transform.to_tensor(self.inputs("train", limit))


def prepare(
    settings: DistillSettings, *, check: Callable[[Workspace], None] | None = None, quiet: bool = False
) -> tuple[Path, Workspace]:
    """Load the data, fit the transform, and let the teacher speak once of every view; all of it is cached.

    Args:
        settings: of the run.
        check: raises what is wrong with settings and data before the teacher speaks, which may take hours.
        quiet: show no progress.

    Returns:
        The folder from which any process can open the same workspace, and the workspace.
    """
    cache_dir = default_cache_dir()
    splits = load_dataset(settings.data, cache_dir, quiet=quiet)
    if not splits.train.classes:
        raise UserError(
            "data without labels need the names of the classes, got none; set data.classes to the teacher's"
        )
    check_reads(settings.student, splits.train.kind)
    transform = fit_transform(splits.train, settings.transform)
    workspace = Workspace(settings, splits, transform, {}, {})
    if check is not None:
        check(workspace)
    folder = cache_dir / "workspaces" / _key(workspace)
    if not _is_whole(folder):
        teacher = load_teacher(settings.teacher, splits, quiet=quiet)
        paths = {
            split: str(_cache_split(workspace, teacher, split, cache_dir, quiet))
            for split in SPLITS
            if workspace.part(split) is not None
        }
        known = {
            "name": teacher.name,
            "params": teacher.num_params,
            "macs": teacher.macs(splits.train.inputs[:1]),
        }
        write_json(folder / "workspace.json", {"signals": paths, "teacher": known})
    workspace = open_workspace(folder, settings, splits, transform)
    _warn_of_chance(workspace)
    return folder, workspace


def _is_whole(folder: Path) -> bool:
    """Tell whether a workspace is there, and not a bit of its signals has changed since the teacher spoke."""
    if not (folder / "workspace.json").exists():
        return False
    try:
        for path in read_json(folder / "workspace.json")["signals"].values():
            open_signal_cache(Path(path), verify=True)
    except UserError as error:
        say(f"the teacher's signals are checked and made whole again: {error}")
        return False
    return True


def _warn_of_chance(workspace: Workspace) -> None:
    """Tell at once of a teacher that does no better than always naming the most frequent class."""
    target = workspace.splits.validation.target
    if target is None or not len(target):
        return
    right = float((workspace.teacher_logits("validation").argmax(axis=1) == target).mean())
    chance = float(np.bincount(target).max() / len(target))
    if right <= chance:
        say(
            f"Warning: the teacher is right on {right:.1%} of the validation part, and the most frequent class alone "
            f"is {chance:.1%} of it; check teacher.mean, teacher.std and teacher.classes"
        )


def _key(workspace: Workspace) -> str:
    settings, splits = workspace.settings, workspace.splits
    fingerprints = [part.fingerprint for split in SPLITS if (part := workspace.part(split)) is not None]
    views = [workspace.views, settings.augment.model_dump() if workspace.augmented else None]
    return content_key(splits.train.name, fingerprints, settings.teacher.model_dump(), settings.signals.top_k, views)


def _cache_split(workspace: Workspace, teacher: Teacher, split: str, cache_dir: Path, quiet: bool) -> Path:
    part = workspace.part(split)
    assert part is not None
    training = split == "train"
    cache = cache_teacher(
        teacher,
        part,
        list(range(workspace.views + 1)) if training else [0],
        cache_dir=cache_dir,
        augment=workspace.settings.augment if training and workspace.augmented else None,
        top_k=workspace.settings.signals.top_k,
        embedding=training and teacher.signal(part.inputs[:1]).embedding is not None,
        quiet=quiet,
    )
    return Path(cache.path)


def open_workspace(
    folder: Path, settings: DistillSettings, splits: DataSplits | None = None, transform: Transform | None = None
) -> Workspace:
    """Open a prepared workspace."""
    splits = splits or load_dataset(settings.data, default_cache_dir(), quiet=True)
    transform = transform or fit_transform(splits.train, settings.transform)
    known = read_json(folder / "workspace.json")
    return Workspace(settings, splits, transform, known["signals"], known["teacher"])


def workspace_from_payload(payload: dict[str, Any]) -> Workspace:
    """Open the workspace that a job's payload names."""
    return open_workspace(Path(payload["workspace"]), load_config(DistillSettings, payload["settings"]))
