"""Tasks: a task maps a batch to ``{"loss": …}``; every method of training is one."""

from moist.tasks.distill import DistillTask, LossSettings
from moist.tasks.joint import JointSettings, JointTask
from moist.tasks.moe import MoETask, MutualSettings, MutualTask, RoutedNetwork
from moist.tasks.router import RouterTask
from moist.tasks.subset import SubsetTask, collapse_logits

__all__ = [
    "DistillTask",
    "JointSettings",
    "JointTask",
    "LossSettings",
    "MoETask",
    "MutualSettings",
    "MutualTask",
    "RoutedNetwork",
    "RouterTask",
    "SubsetTask",
    "collapse_logits",
]
