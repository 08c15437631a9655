"""Whole jobs made of the rooms below: the main job, and each experiment that can be reproduced by name."""

from moist.recipes.configs import find_config, shipped_configs
from moist.recipes.convert import RefineSettings, integrate, load_refine, upcycle_run
from moist.recipes.distill import distill
from moist.recipes.networks import NetworkSettings, open_network
from moist.recipes.probe import probe
from moist.recipes.reproduce import reproduce
from moist.recipes.results import format_table
from moist.recipes.settings import DistillSettings
from moist.recipes.train_moe import train_moe

__all__ = [
    "DistillSettings",
    "NetworkSettings",
    "RefineSettings",
    "distill",
    "find_config",
    "format_table",
    "integrate",
    "load_refine",
    "open_network",
    "probe",
    "reproduce",
    "shipped_configs",
    "train_moe",
    "upcycle_run",
]
