"""``moist distill`` and ``moist reproduce``."""

from __future__ import annotations

import argparse
import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moist import recipes
from moist.cli.output import print_columns, print_json
from moist.config import load_config, nearest
from moist.progress import say
from moist.types import UserError

__all__ = ["run_distill", "run_reproduce"]

YAML_SUFFIXES = (".yaml", ".yml")


def run_distill(arguments: argparse.Namespace) -> None:
    """Run the main job and print its table and verdict."""
    source = find_config(arguments.config)
    settings = load_config(recipes.DistillSettings, source, arguments.overrides)
    out = Path(arguments.out or Path("runs") / (settings.name if "name" in settings.model_fields_set else source.stem))
    metrics = recipes.distill(settings, out, quiet=arguments.quiet)
    _print_metrics(metrics, arguments.json)
    if not arguments.quiet:
        say(f"bundle: {out / 'bundle'}\nreport: {out / 'report.html'}")


def run_reproduce(arguments: argparse.Namespace) -> None:
    """Run a named experiment, or list them."""
    if arguments.list:
        _print_recipes(arguments.json)
        return
    if arguments.name not in recipes.RECIPES:
        raise UserError(
            f"reproduce needs the name of an experiment, got {arguments.name or 'none'}. "
            f"{nearest(arguments.name or '', recipes.RECIPES)} (moist reproduce --list)"
        )
    metrics = recipes.reproduce(
        arguments.name,
        budget=arguments.budget,
        seeds=arguments.seeds,
        results_dir=Path(arguments.out),
        overrides=arguments.overrides,
        quiet=arguments.quiet,
    )
    _print_metrics(metrics, arguments.json)


def find_config(name: str) -> Path:
    """Return the YAML file at ``name``, or the shipped configuration of that name.

    Raises:
        UserError: there is neither.
    """
    path = Path(name)
    if path.suffix in YAML_SUFFIXES or path.is_file():
        return path
    folder = Path(str(importlib.resources.files("moist.recipes"))) / "configs"
    shipped = {file.stem: file for file in folder.glob("*.yaml")}
    if name not in shipped:
        raise UserError(
            f"CONFIG must be a YAML file or a shipped configuration, got {name!r}. {nearest(name, shipped)}"
        )
    return shipped[name]


def _print_metrics(metrics: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(metrics)
        return
    print(recipes.format_table(metrics))
    if metrics.get("verdict"):
        print(f"\n{metrics['verdict']}")


def _print_recipes(as_json: bool) -> None:
    if as_json:
        print_json({"recipes": {name: recipe.summary for name, recipe in recipes.RECIPES.items()}})
    else:
        print_columns([[name, recipe.summary] for name, recipe in recipes.RECIPES.items()])
