"""``moist train-moe``, ``probe``, ``upcycle`` and ``integrate``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moist import recipes
from moist.cli.output import print_columns, print_json
from moist.config import load_config
from moist.moe import SparseSettings
from moist.progress import say
from moist.training import is_first_rank

__all__ = ["run_integrate", "run_probe", "run_train_moe", "run_upcycle"]


def run_train_moe(arguments: argparse.Namespace) -> None:
    """Train a network and print its numbers."""
    source = Path(arguments.config)
    settings = load_config(recipes.NetworkSettings, source, arguments.overrides)
    out = Path(arguments.out or Path("runs") / (settings.name if "name" in settings.model_fields_set else source.stem))
    start = None if arguments.start is None else Path(arguments.start)
    metrics = recipes.train_moe(settings, out, start=start, quiet=arguments.quiet)
    if is_first_rank():
        _finish(metrics, arguments, out)


def run_upcycle(arguments: argparse.Namespace) -> None:
    """Turn a trained dense network into a sparse one."""
    values = {"num_experts": arguments.num_experts, "combine": "renormalize"}
    sparse = load_config(SparseSettings, values, arguments.changes)
    out = Path(arguments.out)
    metrics = recipes.upcycle_run(Path(arguments.model), sparse, out, noise=arguments.noise, quiet=arguments.quiet)
    _finish(metrics, arguments, out)


def run_integrate(arguments: argparse.Namespace) -> None:
    """Turn a trained sparse network into one dense student."""
    refine = None
    if arguments.refine is not None or arguments.changes:
        path = None if arguments.refine in (None, "default") else Path(arguments.refine)
        refine = recipes.load_refine(path, tuple(arguments.changes))
    out = Path(arguments.out)
    metrics = recipes.integrate(
        Path(arguments.model),
        arguments.method,
        out,
        refine=refine,
        unit_score=arguments.unit_score,
        quiet=arguments.quiet,
    )
    _finish(metrics, arguments, out)


def run_probe(arguments: argparse.Namespace) -> None:
    """Print what each expert can do alone."""
    folder = Path(arguments.folder)
    found = recipes.probe(folder, layer=arguments.layer, split=arguments.split, quiet=arguments.quiet)
    if arguments.json:
        print_json(found)
        return
    print_columns(_probe_rows(found))
    gate = "-" if found["gate_accuracy"] is None else f"{found['gate_accuracy']:.1%}"
    print(
        f"\nnetwork {found['mixed']:.1%}; experts on their own parts {found['own_mean']:.1%}; where one is right, the "
        f"gate's is {gate}; experts disagree on {found['disagreement']:.1%}"
    )
    if not arguments.quiet:
        say(f"heat map: {folder / 'probe.png'}")


def _probe_rows(found: Mapping[str, Any]) -> list[list[str]]:
    header = ["EXPERT", "INPUTS", "OWN PART", "ALL", *(f"ON {part}" for part in range(len(found["sizes"])))]
    rows = [header]
    for expert, (size, whole, parts) in enumerate(zip(found["sizes"], found["whole"], found["accuracy"])):
        rows.append([str(expert), str(size), *(_percent(value) for value in (parts[expert], whole, *parts))])
    return rows


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _finish(metrics: Mapping[str, Any], arguments: argparse.Namespace, out: Path) -> None:
    if arguments.json:
        print_json(metrics)
        return
    print(metrics["verdict"])
    if not arguments.quiet:
        say(f"network: {out}")
