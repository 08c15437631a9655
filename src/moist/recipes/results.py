"""The result file: one schema for a run's ``metrics.json`` and for a recipe's ``results/NAME.json``."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from moist.evaluation import gap_recovered, interpolate_macs_at_accuracy
from moist.recipes.measure import Measured
from moist.recipes.workspace import Workspace

__all__ = ["format_table", "machine", "result_document", "short_number", "spread", "verdict"]

SCHEMA = 1
CONVERGED = 0.005  # a gain of training accuracy in the last quarter that counts as none
MEASURED = ("accuracy", "nll", "ece")


def result_document(
    name: str,
    command: str,
    space: Workspace,
    seeds: Mapping[int, Measured],
    seconds: float,
    search: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put the measured seeds of one configuration together.

    Args:
        name: of the run or recipe.
        command: what makes the file again.
        space: data and teacher.
        seeds: what each seed measured; a control may have been run for the first only.
        seconds: how long it all took.
        search: how the mixture's shape was found, where it was searched for.
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
        "derived": {},
        "published": {},
    }
    document["derived"] = _derived(document, runs)
    document["notes"] = _notes(space, document)
    if search is not None:
        document["search"] = dict(search)
        document["notes"].insert(0, search["why"])
    document["verdict"] = verdict(document)
    return document


def _notes(space: Workspace, document: Mapping[str, Any]) -> list[str]:
    """Say what a reader must know before believing the numbers."""
    notes = []
    if space.splits.train.target is None:
        notes.append("The training data carry no labels: the students learned from the teacher alone.")
    if space.splits.test is None or space.splits.test.target is None:
        notes.append("The test data carry no labels: accuracy, calibration and the comparisons cannot be given.")
    if space.teacher.get("macs") is None:
        notes.append("The teacher's multiply-accumulates cannot be counted (it is not made of matrix products).")
    gain = document["derived"].get("student_last_quarter_gain", 0.0)
    if gain > CONVERGED:
        notes.append(
            f"The single student of the same cost was still learning: its training accuracy rose by {100 * gain:.1f} "
            "points in the last quarter of its epochs."
        )
    return [*notes, *_doubts(document["systems"], document["frontier"])]


def _doubts(systems: Mapping[str, Any], frontier: Sequence[Mapping[str, Any]]) -> list[str]:
    """Point at controls that may be weaker than they should be, and at a teacher that is no teacher."""
    doubts = []
    mixture, student, teacher = systems["mixture"], systems.get("student_same_cost"), systems["teacher"]
    if student is not None and student["train_macs"] < 0.97 * mixture["train_macs"]:
        share = student["train_macs"] / mixture["train_macs"]
        doubts.append(
            f"The single student of the same cost had {share:.0%} of the mixture's training compute: "
            "controls.max_epochs ended it."
        )
    for smaller, larger in pairwise(frontier):
        if "accuracy" in smaller and _mean(larger) < _mean(smaller) - 0.01:
            doubts.append(
                f"Single student {larger['name']} is worse than the smaller {smaller['name']} "
                f"({_mean(larger):.1%} against {_mean(smaller):.1%}): it may be undertrained or overfitted."
            )
    if student is not None and "accuracy" in student and _mean(teacher) <= _mean(student):
        doubts.append(
            f"The teacher ({_mean(teacher):.1%}) is no better than its student: check that it reads the inputs as "
            "it was trained to (mean, std, classes), or take the labels alone."
        )
    return doubts


def _mean(entry: Mapping[str, Any]) -> float:
    return float(entry["accuracy"]["mean"])


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


def _derived(document: Mapping[str, Any], runs: Sequence[Measured]) -> dict[str, Any]:
    """Compare the systems' means: the share of the gap recovered, and the cost of equal accuracy."""
    systems = document["systems"]
    mixture, student = systems["mixture"], systems.get("student_same_cost")
    derived: dict[str, Any] = {
        "dead_specialists": sum(len(run.routing["dead"]) for run in runs),
        "max_over_mean_load": statistics.fmean(run.routing["max_over_mean_load"] for run in runs),
    }
    if student is None or "accuracy" not in mixture:
        return derived
    gains = [gain for run in runs if (gain := _last_quarter_gain(run.histories.get(student["name"], []))) is not None]
    if gains:
        derived["student_last_quarter_gain"] = statistics.fmean(gains)
    points = [(single["active_macs"], _mean(single)) for single in document["frontier"]]
    equal = interpolate_macs_at_accuracy(points, _mean(mixture))
    derived["gap_recovered"] = gap_recovered(_mean(mixture), _mean(student), _mean(systems["teacher"]))
    derived["cost_ratio_at_equal_accuracy"] = None if equal is None else equal / mixture["active_macs"]
    return derived


def _last_quarter_gain(history: Sequence[Mapping[str, float]]) -> float | None:
    """Return how much training accuracy rose in the last quarter of the epochs: near 0 where training has converged.

    Without labels, it is agreement with the teacher that rose.
    """
    name = next((name for name in ("accuracy", "agreement") if history and name in history[-1]), None)
    if len(history) < 4 or name is None:
        return None
    return history[-1][name] - history[len(history) * 3 // 4 - 1][name]


def verdict(document: Mapping[str, Any]) -> str:
    """Say in a sentence whether the mixture beats the best single student of its cost, whichever way it went."""
    systems = document["systems"]
    mixture, student = systems["mixture"], systems.get("student_same_cost")
    if "accuracy" not in mixture:
        return "No verdict: the test data carry no labels, so no accuracy can be given."
    if student is None:
        return f"The mixture reaches {_mean(mixture):.1%}; without a single student of its cost there is no verdict."
    best = max((student, *_singles_within(document, student["active_macs"])), key=_mean)
    which = "the single student of the same cost" if best is student else "a single student of no higher cost"
    gain = 100 * (_mean(mixture) - _mean(best))
    noise = 100 * _noise(mixture, best, document["data"]["test"])
    cost = f"{short_number(mixture['active_macs'])} MACs per input, {_mean(mixture):.1%} against {_mean(best):.1%}"
    if gain < -noise:
        return f"A single student is better here: {-gain:.1f} points above the mixture, at no higher cost ({cost})."
    if gain > noise:
        text = f"The mixture wins: {gain:.1f} points above {which} ({cost})."
        ratio = document["derived"].get("cost_ratio_at_equal_accuracy")
        if isinstance(ratio, float) and ratio > 1:
            text += f" A single student needs {ratio:.1f} times the MACs for the same accuracy."
    else:
        text = f"No clear difference: the mixture is {gain:+.1f} points from {which} ({cost}), noise {noise:.1f}."
    return text + _other_winners(systems, noise / 100)


def _singles_within(document: Mapping[str, Any], macs: float) -> list[Mapping[str, Any]]:
    return [entry for entry in document["frontier"] if entry["active_macs"] <= macs]


def _noise(ours: Mapping[str, Any], theirs: Mapping[str, Any], num_test: int) -> float:
    """Standard error of the difference: over seeds, or from the size of the test part where there is one seed."""
    a, b = ours["accuracy"], theirs["accuracy"]
    if min(len(a["values"]), len(b["values"])) > 1:
        return float((a["std"] ** 2 / len(a["values"]) + b["std"] ** 2 / len(b["values"])) ** 0.5)
    return float(sum(x["mean"] * (1 - x["mean"]) / max(num_test, 1) for x in (a, b)) ** 0.5)


def _other_winners(systems: Mapping[str, Any], noise: float) -> str:
    """Name the other rivals of no higher cost (within 2%) that beat the mixture by more than the noise."""
    mixture = systems["mixture"]
    names = {"cascade": "a confidence cascade", "mixture_class_domains": "the plain class-domain mixture"}
    names["mixture_random_partition"] = "a mixture of random domains"
    better = [
        f"{words} ({_mean(systems[name]):.1%} at {short_number(systems[name]['active_macs'])} MACs)"
        for name, words in names.items()
        if name in systems
        and systems[name]["active_macs"] <= 1.02 * mixture["active_macs"]
        and _mean(systems[name]) > _mean(mixture) + noise
    ]
    return f" But {' and '.join(better)} {'are' if len(better) > 1 else 'is'} better still." if better else ""


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
    systems = document["systems"]
    for name in [*(name for name in TITLES if name in systems), *(name for name in systems if name not in TITLES)]:
        entry, title = systems[name], TITLES.get(name, name)
        accuracy = entry.get("accuracy")
        shown = "-" if accuracy is None else f"{accuracy['mean']:.2%}"
        if accuracy is not None and len(accuracy["values"]) > 1:
            shown += f" ± {100 * accuracy['std']:.2f}"
        ece = "-" if entry.get("ece") is None else f"{entry['ece']:.3f}"
        lines.append(
            f"{title:<38}{shown:>16}{short_number(entry.get('active_macs')):>13}{short_number(entry.get('total_params')):>13}{ece:>8}"
        )
    return "\n".join(lines)


def short_number(value: float | None) -> str:
    """Return a count with three digits and a unit, such as ``3.06M``; ``-`` for None."""
    if value is None:
        return "-"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"
