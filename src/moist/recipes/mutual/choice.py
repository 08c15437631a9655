"""What the sweep shows on validation rows, and which weight it says to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from moist.recipes.results import spread

__all__ = ["MOE", "Found", "choose", "choose_for_all", "curve", "weight_name"]

Found = Mapping[str, Mapping[int, Mapping[str, Mapping[str, Any]]]]  # data set, seed, network: its scores
MOE = "moe"
IDLE = 0.1  # of an equal share of the rows; an expert that serves less is idle


def weight_name(form: str, weight: float) -> str:
    """Return what the network trained with one weight is called."""
    return f"{form}-{weight:g}"


def choose(found: Found, form: str, weights: Sequence[float]) -> dict[str, float]:
    """Return for each data set the weight of best mean validation accuracy over seeds; the least of equals."""
    return {data: _best({w: fmean(_of(seeds, form, w)) for w in weights}) for data, seeds in found.items()}


def choose_for_all(found: Found, form: str, weights: Sequence[float]) -> float:
    """Return the one weight that is best on average over data sets and seeds."""
    return _best({w: fmean(fmean(_of(seeds, form, w)) for seeds in found.values()) for w in weights})


def _of(seeds: Mapping[int, Mapping[str, Mapping[str, Any]]], form: str, weight: float) -> list[float]:
    return [networks[weight_name(form, weight)]["accuracy"] for networks in seeds.values()]


def _best(accuracies: Mapping[float, float]) -> float:
    return max(sorted(accuracies), key=lambda weight: accuracies[weight])


def curve(found: Found, form: str, weights: Sequence[float]) -> list[dict[str, Any]]:
    """Return for no mutual distillation and for every weight what came of it, averaged over data sets, seed by seed."""
    return [
        _point(found, MOE, 0.0),
        *(_point(found, weight_name(form, weight), weight) for weight in sorted(weights)),
    ]


def _point(found: Found, name: str, weight: float) -> dict[str, Any]:
    seeds = sorted(next(iter(found.values())))

    def averaged(value: str) -> dict[str, Any]:
        return spread([fmean(found[data][seed][name][value] for data in found) for seed in seeds])

    idle = spread([fmean(_idle(found[data][seed][name]["sizes"]) for data in found) for seed in seeds])

    return {
        "weight": weight,
        "accuracy": averaged("accuracy"),
        "own_part": averaged("own_part"),
        "disagreement": averaged("disagreement"),
        "idle_experts": idle,
        "by_data": {
            data: {
                value: fmean(networks[name][value] for networks in by_seed.values())
                for value in ("accuracy", "own_part", "disagreement")
            }
            for data, by_seed in found.items()
        },
    }


def _idle(sizes: Sequence[int]) -> int:
    return sum(size < IDLE * sum(sizes) / len(sizes) for size in sizes)
