"""From the scores of networks and students to averages, the benefit kept, and a verdict."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from moist.recipes.results import spread

__all__ = ["DENSE", "DENSE_EPOCHS", "KD", "MOE", "benefit_kept", "best_method", "summarize", "verdict"]

MOE, DENSE, DENSE_EPOCHS, KD = "moe", "dense_same_compute", "dense_same_epochs", "kd"
GATHERED, REFINED = "gathered_", "integrated_"
COSTS = ("active_macs", "active_params", "total_params", "bytes")
# Data set, seed, job: what the job returned.
Found = Mapping[str, Mapping[int, Mapping[str, Mapping[str, Any]]]]


def summarize(found: Found, methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return every system: accuracy averaged over data sets, seed by seed, and beside it by data set."""
    systems = {name: _system(found, name, "after") for name in (DENSE, DENSE_EPOCHS, MOE, KD)}
    for method in methods:
        systems[f"{GATHERED}{method}"] = _system(found, method, "before")
        systems[f"{REFINED}{method}"] = _system(found, method, "after")
    return systems


def _system(found: Found, job: str, when: str) -> dict[str, Any]:
    seeds = sorted(next(iter(found.values())))
    scores = {data: [by_seed[seed][job][when] for seed in seeds] for data, by_seed in found.items()}
    columns = zip(*(by_seed for by_seed in scores.values()))
    return {
        "accuracy": spread([_mean(score["test"] for score in column) for column in columns]),
        "nll": _mean(score["nll"] for runs in scores.values() for score in runs),
        **{cost: _mean(score[cost] for runs in scores.values() for score in runs) for cost in COSTS},
        "by_data": {data: {"accuracy": spread([score["test"] for score in runs])} for data, runs in scores.items()},
    }


def best_method(found: Found, methods: Sequence[str]) -> str:
    """Return the gather whose refined student is best on the validation parts, by the mean of data sets and seeds."""

    def validation(method: str) -> float:
        return _mean(jobs[method]["after"]["validation"] for seeds in found.values() for jobs in seeds.values())

    return max(methods, key=validation)


def benefit_kept(student: Mapping[str, Any], dense: Mapping[str, Any], moe: Mapping[str, Any]) -> dict[str, Any]:
    """Return (student - dense) / (MoE - dense), of the averages over data sets and of each data set.

    A data set on which the network with experts is not ahead by a point has nothing to keep, and gets None.

    Xue et al. 2022 (arXiv 2201.10890), section 4.1.
    """

    def kept(name: str | None) -> float | None:
        s, d, m = ((system if name is None else system["by_data"][name])["accuracy"]["mean"] for system in systems)
        return (s - d) / (m - d) if m - d >= 0.01 else None

    systems = (student, dense, moe)
    return {"overall": kept(None), "by_data": {name: kept(name) for name in moe["by_data"]}}


def verdict(systems: Mapping[str, Mapping[str, Any]], derived: Mapping[str, Any]) -> str:
    """Return what was found, whichever way it went."""
    best = derived["best_method"]
    names = (MOE, DENSE, KD, f"{REFINED}{best}")
    moe, dense, kd, student = (f"{systems[name]['accuracy']['mean']:.1%}" for name in names)
    kept = derived["benefit_kept"][f"{REFINED}{best}"]["overall"]
    share = "there is no benefit of a point to keep" if kept is None else f"{kept:.0%} of the benefit is kept"
    return (
        f"On average the network with experts has {moe}, a dense one of the same total training compute {dense}; "
        f"gathered by {best}, the best on validation, and distilled, a dense student has {student}, distilled from "
        f"random weights {kd}: {share}."
    )


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)
