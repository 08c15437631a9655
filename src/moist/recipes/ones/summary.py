"""From the scores of networks and students to averages, the benefit kept, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from moist.evaluation import gap_recovered
from moist.recipes.ones.train import COPIED
from moist.recipes.results import spread

__all__ = [
    "DENSE",
    "DENSE_EPOCHS",
    "KD",
    "KD_COPIED",
    "MOE",
    "ORIGIN",
    "REFINED",
    "benefit_kept",
    "best_method",
    "by_length",
    "gain",
    "student_name",
    "summarize",
    "verdict",
]

MOE, DENSE, DENSE_EPOCHS, KD, KD_COPIED = "moe", "dense_same_compute", "dense_same_epochs", "kd", "kd_copied"
ORIGIN = "dense_origin"
GATHERED, REFINED = "gathered_", "integrated_"
COSTS = ("active_macs", "active_params", "total_params", "bytes")
# Data set, seed, job: what the job returned.
Found = Mapping[str, Mapping[int, Mapping[str, Mapping[str, Any]]]]


def summarize(found: Found, methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return every system: accuracy averaged over data sets, seed by seed, and beside it by data set."""
    jobs = next(iter(next(iter(found.values())).values()))
    trained = (DENSE, DENSE_EPOCHS, *([ORIGIN] if ORIGIN in jobs else []), MOE, KD)
    systems = {name: _system(found, name, "after") for name in trained}
    systems[KD_COPIED] = _system(found, COPIED, "after")
    for method in methods:
        systems[f"{GATHERED}{method}"] = _system(found, method, "before")
        systems[f"{REFINED}{method}"] = _system(found, method, "after")
    return systems


def _system(found: Found, job: str, when: str) -> dict[str, Any]:
    scores = {data: [by_seed[seed][job][when] for seed in sorted(by_seed)] for data, by_seed in found.items()}
    return {
        "accuracy": _accuracy(found, job, when),
        "nll": fmean(score["nll"] for runs in scores.values() for score in runs),
        **{cost: fmean(score[cost] for runs in scores.values() for score in runs) for cost in COSTS},
        "by_data": {data: {"accuracy": spread([score["test"] for score in runs])} for data, runs in scores.items()},
    }


def _accuracy(found: Found, job: str, when: str) -> dict[str, Any]:
    """Return the accuracy on the test parts averaged over data sets, seed by seed."""
    seeds = sorted(next(iter(found.values())))
    return spread([fmean(by_seed[seed][job][when]["test"] for by_seed in found.values()) for seed in seeds])


def best_method(found: Found, methods: Sequence[str], when: str = "after") -> str:
    """Return the job whose student is best on the validation parts, by the mean of data sets and seeds."""

    def validation(method: str) -> float:
        return fmean(jobs[method][when]["validation"] for seeds in found.values() for jobs in seeds.values())

    return max(methods, key=validation)


def student_name(start: str, epochs: int, lengths: Sequence[int]) -> str:
    """Return what the job is called that distils a student from ``start`` for ``epochs``; the longest has no number."""
    return start if epochs == lengths[-1] else f"{start}-{epochs}"


def by_length(found: Found, methods: Sequence[str], lengths: Sequence[int]) -> list[dict[str, Any]]:
    """Return for no distillation and each length of it what came of every start, and what the best gather is worth.

    The gather is chosen for each length on the validation parts. A student of random weights is not scored before it
    has learned something.
    """
    return [
        _length(found, methods, 0, {start: start for start in (COPIED, *methods)}, "before"),
        *(
            _length(found, methods, n, {start: student_name(start, n, lengths) for start in (KD, COPIED, *methods)})
            for n in lengths
        ),
    ]


def _length(
    found: Found, methods: Sequence[str], epochs: int, jobs: Mapping[str, str], when: str = "after"
) -> dict[str, Any]:
    starts = {start: {"accuracy": _accuracy(found, job, when)} for start, job in jobs.items()}
    job_of_best = best_method(found, [jobs[method] for method in methods], when)
    best = next(method for method in methods if jobs[method] == job_of_best)
    return {
        "epochs": epochs,
        "starts": starts,
        "best_method": best,
        "over_random": gain(starts[best], starts[KD]) if KD in starts else None,
        "over_copied": gain(starts[best], starts[COPIED]),
    }


def gain(above: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """Return by how much one system is ahead of another, seed by seed."""
    return spread([a - b for a, b in zip(above["accuracy"]["values"], below["accuracy"]["values"])])


def benefit_kept(student: Mapping[str, Any], dense: Mapping[str, Any], moe: Mapping[str, Any]) -> dict[str, Any]:
    """Return (student - dense) / (MoE - dense), of the averages over data sets and of each data set.

    A data set on which the network with experts is not ahead by a point has nothing to keep, and gets None.

    Xue et al. 2022 (arXiv 2201.10890), section 4.1.
    """

    def kept(name: str | None) -> float | None:
        s, d, m = ((system if name is None else system["by_data"][name])["accuracy"]["mean"] for system in systems)
        return gap_recovered(s, d, m) if m - d >= 0.01 else None

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
