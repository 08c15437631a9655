"""The result file: one schema for a run's ``metrics.json`` and for a recipe's ``results/NAME.json``."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from moist.recipes.measure import Measured
from moist.recipes.workspace import Workspace

__all__ = ["format_table", "result_document", "verdict"]

SCHEMA = 1
MEASURED = ("accuracy", "nll", "ece")


def result_document(
    name: str,
    command: str,
    space: Workspace,
    seeds: Mapping[int, Measured],
    seconds: float,
) -> dict[str, Any]:
    """Put the measured seeds of one configuration together.

    Args:
        name: of the run or recipe.
        command: what makes the file again.
        space: data and teacher.
        seeds: what each seed measured; a control may have been run for the first only.
        seconds: how long it all took.
    """
    splits = space.splits
    test_target = None if splits.test is None else splits.test.target
    runs = list(seeds.values())
    names = dict.fromkeys(name for run in runs for name in run.systems)
    systems = {
        name: _merge([run.systems[name].entry(test_target) for run in runs if name in run.systems]) for name in names
    }
    frontier_names = dict.fromkeys(str(single.extra["name"]) for run in runs for single in run.frontier)
    frontier = [
        _merge([s.entry(test_target) for run in runs for s in run.frontier if s.extra["name"] == single])
        for single in frontier_names
    ]
    derived = _merge_derived([run.derived for run in runs])
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name,
        "command": command,
        "date": datetime.date.today().isoformat(),
        "data": {
            "name": splits.train.name,
            "train": len(splits.train),
            "validation": 0 if splits.validation is None else len(splits.validation),
            "test": 0 if splits.test is None else len(splits.test),
            "classes": len(splits.train.classes),
        },
        "teacher": dict(space.teacher),
        "seeds": list(seeds),
        "versions": {"moist": version("moist"), "python": platform.python_version(), "torch": torch.__version__},
        "machine": machine(),
        "seconds": round(seconds, 1),
        "systems": systems,
        "frontier": sorted(frontier, key=lambda entry: entry["active_macs"]),
        "derived": derived,
        "published": {},
    }
    document["notes"] = _notes(space)
    document["verdict"] = verdict(document)
    return document


def _notes(space: Workspace) -> list[str]:
    notes = []
    if space.splits.train.target is None:
        notes.append("The training data carry no labels: the students learned from the teacher alone.")
    if space.splits.test is None or space.splits.test.target is None:
        notes.append("The test data carry no labels: accuracy, calibration and the comparisons cannot be given.")
    if space.teacher.get("macs") is None:
        notes.append("The teacher's multiply-accumulates cannot be counted (it is not a neural network of torch).")
    return notes


def machine() -> dict[str, Any]:
    """Describe the machine: processor, cores, accelerator."""
    accelerator = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _cpu_name(), "cores": cores, "accelerator": accelerator}


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _merge(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One entry of several seeds: accuracy with its spread, costs as means, other facts of the first seed."""
    merged = dict(entries[0])
    for name in MEASURED:
        values = [entry[name] for entry in entries if name in entry]
        if values:
            merged[name] = spread(values) if name == "accuracy" else statistics.fmean(values)
    for name in ("active_macs", "active_params", "bytes"):
        values = [entry[name] for entry in entries if entry.get(name) is not None]
        if values:
            merged[name] = statistics.fmean(values) if name == "active_macs" else round(statistics.fmean(values))
    if any(entry.get("dead") for entry in entries):
        merged["dead"] = [entry["dead"] for entry in entries]
    return merged


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, sample standard deviation (0 for one value) and the values themselves."""
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": std, "values": list(values)}


def _merge_derived(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of the numbers over seeds (None where a seed has none); lists as they are."""
    derived: dict[str, Any] = {}
    for name in runs[0]:
        values = [run.get(name) for run in runs]
        numbers = [value for value in values if isinstance(value, (int, float))]
        if len(numbers) == len(values):
            derived[name] = statistics.fmean(numbers)
        else:
            derived[name] = values[0] if len(values) == 1 else values
    return derived


def verdict(document: Mapping[str, Any]) -> str:
    """Say in a sentence whether the mixture beats the single student of its cost, whichever way it went."""
    systems, derived = document["systems"], document["derived"]
    mixture, student = systems["mixture"], systems.get("student_same_cost")
    if "accuracy" not in mixture:
        return "No verdict: the test data carry no labels, so no accuracy can be given."
    ours = mixture["accuracy"]
    if student is None:
        return f"The mixture reaches {ours['mean']:.1%}; without controls there is nothing to compare it with."
    theirs = student["accuracy"]
    gain = 100 * (ours["mean"] - theirs["mean"])
    noise = 100 * max(ours["std"], theirs["std"])
    cost = f"{_short(mixture['active_macs'])} MACs per input, {ours['mean']:.1%} against {theirs['mean']:.1%}"
    if len(ours["values"]) == 1:
        noise = 100 * (ours["mean"] * (1 - ours["mean"]) / max(document["data"]["test"], 1)) ** 0.5
    if gain > noise:
        text = f"The mixture wins: {gain:.1f} points above the single student of the same cost ({cost})."
        ratio = derived.get("cost_ratio_at_equal_accuracy")
        if isinstance(ratio, float) and ratio > 1:
            text += f" A single student needs {ratio:.1f} times the MACs for the same accuracy."
        return text + _other_winners(systems)
    if gain < -noise:
        return f"The single student is better here: {-gain:.1f} points above the mixture at the same cost ({cost})."
    return (
        f"No clear difference: the mixture is {gain:+.1f} points from the single student of the same cost ({cost}), "
        f"within the noise of {noise:.1f}." + _other_winners(systems)
    )


def _other_winners(systems: Mapping[str, Any]) -> str:
    """Name the rivals of no higher cost that beat the mixture all the same."""
    mixture = systems["mixture"]
    names = {"cascade": "a confidence cascade", "mixture_class_domains": "the plain class-domain mixture"}
    names["mixture_random_partition"] = "a mixture of random domains"
    better = [
        f"{words} ({systems[name]['accuracy']['mean']:.1%})"
        for name, words in names.items()
        if name in systems and systems[name]["accuracy"]["mean"] > mixture["accuracy"]["mean"]
    ]
    return f" But at about that cost it is beaten by {' and by '.join(better)}." if better else ""


TITLES = {
    "teacher": "teacher",
    "student_same_cost": "single student, same cost",
    "student_same_total": "single student, same total size",
    "generalist": "generalist (one specialist's size)",
    "mixture": "MIXTURE",
    "mixture_oracle_router": "mixture, oracle router (bound)",
    "mixture_random_partition": "mixture, random domains",
    "mixture_class_domains": "mixture, class domains (plain idea)",
    "mixture_all_specialists": "mixture, all specialists run",
    "cascade": "confidence cascade",
    "mixture_deferring": "mixture, deferring",
}


def format_table(document: Mapping[str, Any]) -> str:
    """Return the systems as a table for the terminal."""
    lines = [f"{'system':<38}{'accuracy':>16}{'MACs/input':>13}{'parameters':>13}{'ECE':>8}"]
    for name, title in TITLES.items():
        entry = document["systems"].get(name)
        if entry is None:
            continue
        accuracy = entry.get("accuracy")
        shown = "-" if accuracy is None else f"{accuracy['mean']:.2%}"
        if accuracy is not None and len(accuracy["values"]) > 1:
            shown += f" ± {100 * accuracy['std']:.2f}"
        ece = "-" if entry.get("ece") is None else f"{entry['ece']:.3f}"
        lines.append(
            f"{title:<38}{shown:>16}{_short(entry.get('active_macs')):>13}{_short(entry.get('total_params')):>13}{ece:>8}"
        )
    return "\n".join(lines)


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"
