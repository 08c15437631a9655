"""From the folds' results to averages, comparisons and a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from moist.recipes.classic.systems import DESLIB, DISTILLED, TEACHER
from moist.recipes.results import spread

__all__ = ["compare", "gather", "summarize", "verdict"]

Cell = Mapping[str, Any]
Cells = dict[str, dict[int, list[Cell]]]  # table, then seed, then one result per fold
LEVEL = 0.01  # a point of accuracy
BARS = {"batch_1": 10.0, "batch_10000": 2.0}


def gather(values: Mapping[str, Any], systems: Sequence[str]) -> dict[str, Cells]:
    """Sort the jobs' values, by their names, into system, table, seed and fold."""
    found: dict[str, Cells] = {name: {} for name in systems}
    for name, value in values.items():
        data, seed, *place = name.split("/")
        number = int(seed.removeprefix("seed-"))
        parts = {place[1]: [value]} if len(place) == 2 else {s: value[s] for s in DESLIB if s in found}
        for system, cells in parts.items():
            found[system].setdefault(data, {}).setdefault(number, []).extend(cells)
    return found


def summarize(cells: Cells) -> dict[str, Any]:
    """Average one system's results: over folds, then tables, seed by seed."""
    by_data = {data: _of_table(seeds) for data, seeds in cells.items()}
    return {
        "accuracy": _averaged(by_data.values(), "accuracy"),
        "nll": fmean(table["nll"]["mean"] for table in by_data.values()),
        "ece": fmean(table["ece"]["mean"] for table in by_data.values()),
        "fit_seconds": fmean(table["fit_seconds"] for table in by_data.values()),
        "latency_ms": {batch: fmean(table["latency_ms"][batch] for table in by_data.values()) for batch in BARS},
        **dict.fromkeys(("active_macs", "active_params", "total_params")),
        "bytes": round(fmean(table["bytes"] for table in by_data.values())),
        "by_data": by_data,
    }


def _of_table(seeds: Mapping[int, Sequence[Cell]]) -> dict[str, Any]:
    every = [cell for folds in seeds.values() for cell in folds]
    timed = [cell for cell in every if "batch_1_ms" in cell]
    table: dict[str, Any] = {
        name: spread([fmean(cell[name] for cell in folds) for _, folds in sorted(seeds.items())])
        for name in ("accuracy", "nll", "ece")
    }
    table["fit_seconds"] = fmean(cell["fit_seconds"] for cell in every)
    table["latency_ms"] = {batch: fmean(cell[f"{batch}_ms"] for cell in timed) for batch in BARS}
    table["bytes"] = round(fmean(cell["bytes"] for cell in every))
    if "teacher_batch_1_ms" in timed[0]:
        table["macs"] = fmean(cell["macs"] for cell in every)
        # The middle of the timed folds: a single one may have met a busy moment.
        table["faster_than_teacher"] = {
            batch: median(cell[f"teacher_{batch}_ms"] / cell[f"{batch}_ms"] for cell in timed) for batch in BARS
        }
    return table


def _averaged(tables: Iterable[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Return the spread over seeds of the mean over tables."""
    return spread([fmean(values) for values in zip(*(table[name]["values"] for table in tables))])


PAIRS = {
    "mixture_over_logistic_regression": ("mixture_of_experts", "logistic_regression"),
    "mixture_over_cart": ("mixture_of_experts", "cart"),
    "hierarchy_over_cart_same_leaves": ("hierarchical_mixture", "cart_same_leaves"),
    "mixture_over_knora_e": ("mixture_of_experts", "knora_e"),
    "mixture_over_meta_des": ("mixture_of_experts", "meta_des"),
    "distilled_over_teacher": (DISTILLED, TEACHER),
    "distilled_over_mixture": (DISTILLED, "mixture_of_experts"),
}


def compare(systems: Mapping[str, Any]) -> dict[str, Any]:
    """Return differences of average accuracy, seed by seed, on how many tables the first is ahead, and speeds."""
    derived: dict[str, Any] = {}
    for name, (ours, theirs) in PAIRS.items():
        if ours in systems and theirs in systems:
            derived[name] = _difference(systems[ours], systems[theirs])
    if "distilled_over_teacher" in derived:
        gaps = derived["distilled_over_teacher"]["by_data"]
        derived["distilled_within_a_point"] = sorted(data for data, gap in gaps.items() if gap >= -LEVEL)
        faster = {data: table["faster_than_teacher"] for data, table in systems[DISTILLED]["by_data"].items()}
        derived["faster_than_teacher"] = {
            batch: {
                "least": min(v[batch] for v in faster.values()),
                "by_data": {d: v[batch] for d, v in faster.items()},
            }
            for batch in BARS
        }
    return derived


def _difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    by_data = {
        data: table["accuracy"]["mean"] - theirs["by_data"][data]["accuracy"]["mean"]
        for data, table in ours["by_data"].items()
    }
    pairs = zip(ours["accuracy"]["values"], theirs["accuracy"]["values"])
    return {
        **spread([a - b for a, b in pairs]),
        "ahead_on": sum(gap > 0 for gap in by_data.values()),
        "by_data": by_data,
    }


WORDS = {
    "mixture_over_logistic_regression": "the mixture of experts over logistic regression",
    "mixture_over_cart": "over CART",
    "hierarchy_over_cart_same_leaves": "the tree of gates over a CART of as many leaves",
    "distilled_over_teacher": "the distilled mixture over its boosting teacher",
}


def verdict(derived: Mapping[str, Any], num_tables: int) -> str:
    """Say in a sentence or two what was found, whichever way it went."""
    parts = [
        f"{words} {100 * derived[name]['mean']:+.1f} points (ahead on {derived[name]['ahead_on']} of {num_tables})"
        for name, words in WORDS.items()
        if name in derived
    ]
    text = f"On average: {', '.join(parts)}." if parts else "Nothing to compare."
    if "faster_than_teacher" in derived:
        least = {batch: derived["faster_than_teacher"][batch]["least"] for batch in BARS}
        near = len(derived["distilled_within_a_point"])
        text += (
            f" It is within a point of its teacher on {near} of {num_tables}, and at least {least['batch_1']:.1f} "
            f"times as fast at batch 1, {least['batch_10000']:.1f} times at batch 10,000."
        )
    return text
