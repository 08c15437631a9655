"""One fit loop that knows no method, resumable to the bit, and jobs that run it in parallel processes."""

from moist.training.fit import BatchSource, Task, TrainingSettings, fit
from moist.training.job import Job, JobFailed, JobResult, JobsSettings
from moist.training.jobs import run_jobs
from moist.training.ranks import Ranks, is_first_rank, joined_ranks

__all__ = [
    "BatchSource",
    "Job",
    "JobFailed",
    "JobResult",
    "JobsSettings",
    "Ranks",
    "Task",
    "TrainingSettings",
    "fit",
    "is_first_rank",
    "joined_ranks",
    "run_jobs",
]
