"""Cut a workspace's training data into domains, and its classes into the groups that specialists score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from moist.mixture import MixtureSettings, check_groups
from moist.partition import (
    ConfusionPartitioner,
    EmbeddingPartitioner,
    RandomPartitioner,
    confusion_matrix,
    grow_groups,
    symmetric_confusions,
)
from moist.recipes.workspace import Workspace
from moist.teachers import open_signal_cache
from moist.types import Partition

__all__ = ["class_groups", "make_partition"]


def make_partition(space: Workspace, settings: MixtureSettings, seed: int) -> Partition:
    """Cut the training data into domains by the method named in ``settings``.

    Specialists that score only their own classes need domains made of classes, which ``random`` then draws by chance
    and every other method takes from the teacher's confusions.
    """
    train, num_domains, size = space.splits.train, settings.num_domains, settings.classes_per_specialist
    if settings.method == "random":
        if size is None:
            return RandomPartitioner(num_domains, seed).partition(len(train))
        classes = RandomPartitioner(num_domains, seed).partition(space.num_classes).assignment
        return Partition(num_domains, classes[_labels(space)], classes)
    if settings.method == "class-domains" or size is not None:
        return ConfusionPartitioner(num_domains, seed, size).partition(_softened(space), train.target)
    cache = open_signal_cache(Path(space.signal_paths["train"]))
    rows = np.arange(len(train))
    embedding = cache.embedding(rows, np.zeros_like(rows))
    spoken = space.teacher_logits("train") if embedding is None else embedding
    return EmbeddingPartitioner(num_domains, seed).partition(spoken)


def class_groups(space: Workspace, settings: MixtureSettings, seed: int) -> list[list[int]] | None:
    """Return the classes of each specialist: its domain's, and those most confused with them; None where it has all."""
    size = settings.classes_per_specialist
    if size is None:
        return None
    check_groups(settings.num_domains, size, space.num_classes)
    classes = make_partition(space, settings, seed).class_to_domain
    assert classes is not None
    affinity = symmetric_confusions(confusion_matrix(_softened(space), space.splits.train.target))
    groups: list[list[int]] = grow_groups(classes, settings.num_domains, affinity, size).tolist()
    return groups


def _softened(space: Workspace) -> np.ndarray:
    """Return the teacher's probabilities (N, C) on the training part, softened as the students see them."""
    logits = torch.from_numpy(space.teacher_logits("train"))
    return (logits / space.settings.loss.temperature).softmax(dim=1).numpy()


def _labels(space: Workspace) -> np.ndarray:
    """Return the training labels, or where there are none what the teacher says."""
    target = space.splits.train.target
    return space.teacher_logits("train").argmax(axis=1) if target is None else target
