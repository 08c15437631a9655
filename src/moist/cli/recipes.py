"""``moist distill``, and ``moist reproduce`` once its experiment is known."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moist import recipes
from moist.cli.output import print_json
from moist.config import load_config
from moist.progress import say

__all__ = ["run_distill", "run_experiment"]


def run_distill(arguments: argparse.Namespace) -> None:
    """Run the main job and print its table and verdict."""
    source = recipes.find_config(arguments.config)
    settings = load_config(recipes.DistillSettings, source, arguments.overrides)
    out = Path(arguments.out or Path("runs") / (settings.name if "name" in settings.model_fields_set else source.stem))
    metrics = recipes.distill(settings, out, quiet=arguments.quiet)
    _print_metrics(metrics, arguments.json)
    if not arguments.quiet:
        say(f"bundle: {out / 'bundle'}\nreport: {out / 'report.html'}")


def run_experiment(arguments: argparse.Namespace) -> None:
    """Run a named experiment and print its table and verdict."""
    metrics = recipes.reproduce(
        arguments.name,
        budget=arguments.budget,
        seeds=arguments.seeds,
        results_dir=Path(arguments.out),
        overrides=arguments.overrides,
        quiet=arguments.quiet,
    )
    _print_metrics(metrics, arguments.json)


def _print_metrics(metrics: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(metrics)
        return
    print(recipes.format_table(metrics))
    if metrics.get("verdict"):
        print(f"\n{metrics['verdict']}")
