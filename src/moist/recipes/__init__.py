"""Whole jobs made of the rooms below: the main job, and each experiment that can be reproduced by name."""

from moist.recipes.configs import find_config, shipped_configs
from moist.recipes.distill import distill
from moist.recipes.reproduce import RECIPES, experiments, reproduce
from moist.recipes.results import format_table
from moist.recipes.settings import DistillSettings

__all__ = [
    "RECIPES",
    "DistillSettings",
    "distill",
    "experiments",
    "find_config",
    "format_table",
    "reproduce",
    "shipped_configs",
]
