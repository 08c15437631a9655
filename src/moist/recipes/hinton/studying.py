"""What the studies of this folder share: jobs that several of them use, and entries of their result files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moist.data import DataSettings, DataSplits, InputShape, load_dataset
from moist.evaluation import count_cost
from moist.recipes.hinton.networks import read_logits
from moist.recipes.results import spread
from moist.recipes.study import StudyRequest
from moist.storage import default_cache_dir, only_one
from moist.students import StudentSettings, create_student
from moist.training import Job, JobResult, JobsSettings, run_jobs

__all__ = [
    "costs_of",
    "data_facts",
    "keyed",
    "networks_entry",
    "num_errors",
    "run_after_shared",
    "shared_folder",
    "splits_of",
    "system_entry",
    "test_target_of",
    "total_seconds",
    "train_target_of",
]

DIGIT = InputShape("vision", (1, 28, 28))


def shared_folder(request: StudyRequest) -> Path:
    """Return the folder, beside the studies' own, of networks that several studies use."""
    return request.out.parent / "hinton-shared"


def keyed(job: Job) -> Job:
    """Return the job with its key in the folder's name, so that networks of other settings lie beside it."""
    return replace(job, folder=job.folder.with_name(f"{job.folder.name}-{job.key[:8]}"))


def run_after_shared(
    request: StudyRequest, shared: Sequence[Job], jobs: Sequence[Job], settings: JobsSettings
) -> dict[str, JobResult]:
    """Run jobs in the folder that studies share, for one study at a time; then those of the study alone.

    Returns:
        The results of both by name.
    """
    with only_one(shared_folder(request)):
        run_jobs(shared, settings, quiet=request.quiet)
    return run_jobs([*shared, *jobs], settings, quiet=request.quiet)


@cache
def splits_of(data: DataSettings) -> DataSplits:
    """Return a data set's parts, loaded once."""
    return load_dataset(data, default_cache_dir(), quiet=True)


def data_facts(data: DataSettings, *, whole: bool) -> dict[str, Any]:
    """Return what a result file says of a data set.

    Args:
        data: which.
        whole: the networks train on the validation rows too.
    """
    splits = splits_of(data)
    assert splits.test is not None
    train, validation = len(splits.train), len(splits.validation)
    rows = {"train": train + validation, "validation": 0} if whole else {"train": train, "validation": validation}
    return {"name": data.name, **rows, "test": len(splits.test)}


def train_target_of(data: DataSettings) -> Tensor:
    """Return the classes (N,) of the training rows, those of the validation part last."""
    splits = splits_of(data)
    assert splits.train.target is not None
    assert splits.validation.target is not None
    return torch.from_numpy(np.concatenate([splits.train.target, splits.validation.target]))


def test_target_of(data: DataSettings) -> Tensor:
    """Return the classes (N,) of the test part."""
    test = splits_of(data).test
    assert test is not None
    assert test.target is not None
    return torch.from_numpy(test.target)


def num_errors(logits_NC: Tensor, target_N: Tensor) -> int:
    """Return how many rows are not given their class."""
    return int((logits_NC.argmax(dim=1) != target_N).sum())


def costs_of(student: StudentSettings, shape: InputShape = DIGIT, num_classes: int = 10) -> dict[str, Any]:
    """Return the cost of one input, as result files name it."""
    with torch.random.fork_rng(devices=[]):
        cost = count_cost(create_student(student, shape, num_classes), torch.zeros(2, *shape.shape))
    return {"active_macs": cost.macs, "active_params": cost.params, "total_params": cost.params, "bytes": cost.bytes}


def system_entry(errors: Sequence[float], num_test: int, costs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return one entry of a result file from the numbers of errors, one for each seed."""
    return {"accuracy": spread([1 - wrong / num_test for wrong in errors]), "errors": spread(errors), **(costs or {})}


def networks_entry(data: DataSettings, costs: Mapping[str, Any], folders: Sequence[Path]) -> dict[str, Any]:
    """Return a result file's entry of finished networks of one cost, one folder for each seed."""
    target = test_target_of(data)
    return system_entry([num_errors(read_logits(folder), target) for folder in folders], len(target), costs)


def total_seconds(results: Mapping[str, JobResult]) -> float:
    """Return the seconds of work in all jobs; those that several studies use count for each."""
    return sum(result.seconds for result in results.values())
