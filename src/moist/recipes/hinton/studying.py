"""What the studies of this folder share: jobs that several of them use, and entries of their result files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moist.data import InputShape
from moist.evaluation import count_cost
from moist.recipes.results import spread
from moist.recipes.study import StudyRequest
from moist.storage import only_one
from moist.students import StudentSettings, create_student
from moist.training import Job, JobResult, JobsSettings, run_jobs

__all__ = ["costs_of", "keyed", "num_errors", "run_after_shared", "shared_folder", "system_entry", "total_seconds"]

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


def total_seconds(results: Mapping[str, JobResult]) -> float:
    """Return the seconds of work in all jobs; those that several studies use count for each."""
    return sum(result.seconds for result in results.values())
