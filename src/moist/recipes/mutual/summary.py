"""From the scores on the test part to averages, paired differences and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from moist.recipes.mutual.choice import MOE, Found
from moist.recipes.results import spread

__all__ = ["DENSE", "MODE", "MODE_CHOSEN", "MODE_KL", "MODE_ONE_WEIGHT", "compare", "paired", "summarize", "verdict"]

DENSE = "dense_same_cost"
MODE, MODE_KL, MODE_CHOSEN, MODE_ONE_WEIGHT = "mode", "mode_kl", "mode_chosen", "mode_one_weight"
COSTS = ("active_macs", "active_params", "total_params", "bytes", "forward_macs_in_training")
SCORES = ("accuracy", "nll", "ece")
PROBED = ("own_part", "whole", "gate_accuracy", "disagreement")
FEW = 20  # rows; on a smaller part an expert's accuracy says little
PAIRS = {
    "mode_over_moe": (MODE, MOE),
    "mode_kl_over_moe": (MODE_KL, MOE),
    "mode_chosen_over_moe": (MODE_CHOSEN, MOE),
    "mode_chosen_over_dense": (MODE_CHOSEN, DENSE),
    "mode_one_weight_over_moe": (MODE_ONE_WEIGHT, MOE),
    "mode_over_dense": (MODE, DENSE),
    "moe_over_dense": (MOE, DENSE),
}


def summarize(found: Found, name: str, weights: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Average one system: over data sets, seed by seed; beside it what each data set gave.

    Args:
        found: scores on the test part.
        name: the system.
        weights: of each data set, where the system has one.
    """
    seeds = sorted(next(iter(found.values())))
    probed = PROBED if name != DENSE else ()
    averaged = {
        value: spread([fmean(found[data][seed][name][value] for data in found) for seed in seeds])
        for value in (*SCORES, *probed)
    }
    by_data = {data: _of_data(by_seed, name, probed) for data, by_seed in found.items()}
    for data, weight in (weights or {}).items():
        by_data[data]["weight"] = weight
    costs = {cost: fmean(entry[cost] for entry in by_data.values()) for cost in COSTS}
    return {**averaged, **costs, "nll": averaged["nll"]["mean"], "ece": averaged["ece"]["mean"], "by_data": by_data}


def _of_data(
    by_seed: Mapping[int, Mapping[str, Mapping[str, Any]]], name: str, probed: Sequence[str]
) -> dict[str, Any]:
    runs = [networks[name] for _, networks in sorted(by_seed.items())]
    found: dict[str, Any] = {value: spread([run[value] for run in runs]) for value in (*SCORES, *probed)}
    found |= {cost: fmean(run[cost] for run in runs) for cost in COSTS}
    if probed:
        found["smallest_share"] = min(min(run["sizes"]) / sum(run["sizes"]) for run in runs)
    return found


def compare(found: Found, systems: Sequence[str]) -> dict[str, Any]:
    """Return the paired differences of the systems on the test part, and what probing tells of the experts."""
    derived: dict[str, Any] = {name: paired(found, *pair) for name, pair in PAIRS.items() if set(pair) <= set(systems)}
    derived["own_part_gain"] = paired(found, MODE, MOE, "own_part")
    derived["disagreement_gain"] = paired(found, MODE, MOE, "disagreement")
    derived["gate_accuracy_gain"] = paired(found, MODE, MOE, "gate_accuracy")
    derived["experts_better_on_their_part"] = _experts(found)
    derived["training_cost_ratio"] = fmean(
        networks[MODE]["forward_macs_in_training"] / networks[MOE]["forward_macs_in_training"]
        for seeds in found.values()
        for networks in seeds.values()
    )
    return derived


def paired(found: Found, ours: str, theirs: str, value: str = "accuracy") -> dict[str, Any]:
    """Return the mean difference over data sets and seeds, its standard error, and each data set's own.

    The standard error is of all pairs of a data set and a seed, taken as one sample.
    """
    by_data = {
        data: [networks[ours][value] - networks[theirs][value] for _, networks in sorted(seeds.items())]
        for data, seeds in found.items()
    }
    gaps = [gap for gaps in by_data.values() for gap in gaps]
    return {
        **_error(gaps),
        "pairs": len(gaps),
        "pairs_ahead": sum(gap > 0 for gap in gaps),
        "data_ahead": sum(fmean(gaps) > 0 for gaps in by_data.values()),
        "by_data": {data: {**_error(gaps), "values": gaps} for data, gaps in by_data.items()},
    }


def _error(gaps: Sequence[float]) -> dict[str, float]:
    error = stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else 0.0
    return {"mean": fmean(gaps), "standard_error": error}


def _experts(found: Found) -> dict[str, Any]:
    """Count the experts that are better on their own part than the one of the same start in the plain mixture."""
    gaps = []
    for seeds in found.values():
        for networks in seeds.values():
            ours, theirs = networks[MODE], networks[MOE]
            for a, b, size_a, size_b in zip(ours["own"], theirs["own"], ours["sizes"], theirs["sizes"]):
                if min(size_a, size_b) >= FEW:
                    gaps.append(a - b)
    return {"experts": len(gaps), "better": sum(gap > 0 for gap in gaps), **_error(gaps)}


def verdict(derived: Mapping[str, Any], num_data: int) -> str:
    """Say in a few sentences what was found, whichever way it went."""
    gain, own, experts = derived["mode_over_moe"], derived["own_part_gain"], derived["experts_better_on_their_part"]
    curve = derived["sweep"]["squared"]
    start, last = curve[0], curve[-1]
    best = max(curve[1:], key=lambda point: point["accuracy"]["mean"])
    text = (
        f"MoDE is {_points(gain)} the plain mixture of experts over {gain['pairs']} pairs of a data set and a seed "
        f"(ahead on {gain['data_ahead']} of {num_data} data sets), and {_points(derived['mode_over_dense'])} the dense "
        f"network of the same active cost. Experts alone on their own part gain {100 * own['mean']:+.1f} points "
        f"({experts['better']} of {experts['experts']} experts are better). On validation rows one weight for all is "
        f"best at {best['weight']:g} ({100 * (best['accuracy']['mean'] - start['accuracy']['mean']):+.1f} points); at "
        f"{last['weight']:g} it is {100 * (last['accuracy']['mean'] - start['accuracy']['mean']):+.1f}, and pairs of "
        f"experts disagree on {last['disagreement']['mean']:.0%} of the rows instead of "
        f"{start['disagreement']['mean']:.0%}."
    )
    if chosen := derived.get("mode_chosen_over_moe"):
        text += f" Among the chosen experts alone, at no cost in training, it is {_points(chosen)} MoE."
    return text


def _points(gain: Mapping[str, Any]) -> str:
    side = "above" if gain["mean"] > 0 else "below" if gain["mean"] < 0 else "level with"
    return f"{abs(100 * gain['mean']):.2f} ± {100 * gain['standard_error']:.2f} points {side}"
