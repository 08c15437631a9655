"""Tasks: a task maps a batch to ``{"loss": …}``; every method of training is one."""

from moist.tasks.distill import DistillTask, LossSettings
from moist.tasks.joint import JointSettings, JointTask
from moist.tasks.moe import MoETask, MutualSettings, MutualTask, RoutedNetwork
from moist.tasks.router import RouterTask

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
]
