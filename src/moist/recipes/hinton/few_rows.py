"""What the studies of few labels share, whatever the data: entries, the course of training and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moist.data import DataSettings
from moist.evaluation import gap_recovered
from moist.recipes.hinton.studying import data_facts, networks_entry, total_seconds
from moist.recipes.results import spread
from moist.recipes.study import StudyRequest, study_document
from moist.training import JobResult

__all__ = ["ARMS", "FewRowsPlan", "course", "few_rows_document"]

PUBLISHED = {
    "source": "Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 6: speech, frame accuracy",
    "accuracy": {"hard_few": 0.445, "soft_few": 0.570, "hard_all": 0.589},
    "stopped_early": {"hard_few": True, "soft_few": False},
}
ARMS = ("hard_few", "soft_few")


@dataclass(frozen=True)
class FewRowsPlan:
    """What a study of few labels reports.

    Args:
        data: the data set.
        whole: the networks on all rows train on the validation rows too.
        share: of each class's rows that the few are.
        teacher: what is known of it.
        networks: each system's name in the document, to the name of its jobs and its costs.
        notes: what a reader must know.
    """

    data: DataSettings
    whole: bool
    share: float
    teacher: Mapping[str, Any]
    networks: Mapping[str, tuple[str, Mapping[str, Any]]]
    notes: Sequence[str]


def few_rows_document(request: StudyRequest, plan: FewRowsPlan, results: Mapping[str, JobResult]) -> dict[str, Any]:
    """Return the document from finished jobs, named ``NAME-SEED``; those of ``ARMS`` have curves."""
    seeds = range(request.seeds)
    systems = {
        name: networks_entry(plan.data, costs, [results[f"{job}-{seed}"].folder for seed in seeds])
        for name, (job, costs) in plan.networks.items()
    }
    curves = {name: [results[f"{name}-{seed}"].value["curve"] for seed in seeds] for name in ARMS}
    bound, hard, soft = (systems[name]["accuracy"]["mean"] for name in ("hard_all", *ARMS))
    derived = {
        "recovered": gap_recovered(soft, hard, bound),
        "course": {name: course(curves[name]) for name in ARMS},
        "curves": curves,
    }
    return study_document(
        request,
        data=data_facts(plan.data, whole=plan.whole),
        teacher=plan.teacher,
        systems=systems,
        seconds=total_seconds(results),
        verdict=_verdict(systems, derived, plan.share),
        derived=derived,
        published=PUBLISHED,
        notes=["Every network is trained to its last step; nothing is stopped early.", *plan.notes],
    )


def course(curves: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Return what becomes of each seed's validation figures between their best point and the end of training.

    Args:
        curves: for each seed, ``accuracy`` and ``nll`` (nats) at points in the course of training.
    """
    return {
        "accuracy_lost": spread([max(point["accuracy"] for point in c) - c[-1]["accuracy"] for c in curves]),
        "nll_gained": spread([c[-1]["nll"] - min(point["nll"] for point in c) for c in curves]),
    }


def _verdict(systems: Mapping[str, Any], derived: Mapping[str, Any], few: float) -> str:
    bound, hard, soft = (f"{systems[name]['accuracy']['mean']:.1%}" for name in ("hard_all", *ARMS))
    lost, gained = ([derived["course"][name][key]["mean"] for name in ARMS] for key in ("accuracy_lost", "nll_gained"))
    return (
        f"On {few:.0%} of the rows labels give {hard}, soft targets {soft}, on all rows labels give "
        f"{bound}: soft targets recover {_share(derived['recovered'])} of the gap. From its best point to the end of "
        f"training the network taught by labels loses {100 * lost[0]:.2f} points of validation accuracy and "
        f"{gained[0]:.2f} nats, the one taught by soft targets {100 * lost[1]:.2f} points and {gained[1]:.2f} nats."
    )


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.0%}"
