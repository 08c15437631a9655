"""One fit loop that knows no method, resumable to the bit, and jobs that run it in parallel processes."""

from moist.training.fit import BatchSource, Task, TrainingSettings, fit
from moist.training.job import Job, JobFailed, JobResult, JobsSettings
from moist.training.jobs import run_jobs

__all__ = [
    "BatchSource",
    "Job",
    "JobFailed",
    "JobResult",
    "JobsSettings",
    "Task",
    "TrainingSettings",
    "fit",
    "run_jobs",
]
