"""What the studies of an ensemble share, whatever the data: jobs, entries and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from torch import Tensor

from moist.data import DataSettings
from moist.evaluation import gap_recovered
from moist.recipes.hinton.networks import NetworkSettings, log_mean_probabilities, network_job, read_logits
from moist.recipes.hinton.studying import data_facts, num_errors, system_entry, test_target_of, total_seconds
from moist.recipes.study import StudyRequest, study_document
from moist.training import Job, JobResult, JobsSettings, run_jobs

__all__ = ["EnsemblePlan", "run_ensembles"]

PUBLISHED = {
    "source": "Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 4: speech, frame accuracy",
    "accuracy": {"single": 0.589, "ensemble_10": 0.611, "distilled": 0.608},
    "kept": 0.86,
}
DRAWS = 1000  # seeds of different ensembles lie so far apart


@dataclass(frozen=True)
class EnsemblePlan:
    """What a study of an ensemble trains.

    Args:
        data: the data set.
        member: a member's settings by its seed, which draws its rows too.
        student: a student's settings by its seed.
        num_members: networks in an ensemble.
        num_students: networks distilled from each ensemble.
        costs: of one of them.
        whole: they train on the validation rows too.
        note: what members and students learn from.
    """

    data: DataSettings
    member: Callable[[int], NetworkSettings]
    student: Callable[[int], NetworkSettings]
    num_members: int
    num_students: int
    costs: Mapping[str, Any]
    whole: bool
    note: str


def run_ensembles(request: StudyRequest, plan: EnsemblePlan, jobs: JobsSettings) -> dict[str, Any]:
    """Train an ensemble for every seed, and networks like its members on its soft targets; return the document."""
    results = run_jobs(list(_jobs(request, plan)), jobs, quiet=request.quiet)
    return _document(request, plan, results)


def _jobs(request: StudyRequest, plan: EnsemblePlan) -> Iterator[Job]:
    """Yield the members of each seed's ensemble, the students of all of them, and one student of a single member."""
    for seed in range(request.seeds):
        members = [
            _job(request, f"member-{seed}-{number}", plan.member(DRAWS * (seed + 1) + number))
            for number in range(plan.num_members)
        ]
        yield from members
        for number in range(plan.num_students):
            yield _job(request, f"distilled-{seed}-{number}", plan.student(DRAWS * seed + number), members)
        yield _job(request, f"from_one-{seed}-0", plan.student(DRAWS * seed), members[:1])


def _job(request: StudyRequest, name: str, network: NetworkSettings, teachers: Sequence[Job] = ()) -> Job:
    return network_job(name, network, request.out / name, {job.name: job.folder for job in teachers})


def _document(request: StudyRequest, plan: EnsemblePlan, results: Mapping[str, JobResult]) -> dict[str, Any]:
    counts = {"member": plan.num_members, "distilled": plan.num_students, "from_one": 1}
    target = test_target_of(plan.data)
    told = {kind: _told(kind, count, request.seeds, results) for kind, count in counts.items()}
    wrong = {kind: [[num_errors(one, target) for one in group] for group in groups] for kind, groups in told.items()}
    single, distilled, from_one = ([fmean(group) for group in wrong[kind]] for kind in counts)
    ensemble = [num_errors(log_mean_probabilities(group), target) for group in told["member"]]
    together = {key: plan.num_members * value for key, value in plan.costs.items()}
    systems = {
        "single": system_entry(single, len(target), plan.costs),
        "ensemble": system_entry(ensemble, len(target), together),
        "distilled": system_entry(distilled, len(target), plan.costs),
        "distilled_from_one": system_entry(from_one, len(target), plan.costs),
    }
    derived = {
        "kept": _kept(systems, "distilled"),
        "kept_from_one": _kept(systems, "distilled_from_one"),
        "errors_of_each": wrong,
    }
    return study_document(
        request,
        data=data_facts(plan.data, whole=plan.whole),
        teacher={"name": f"mean probabilities of {plan.num_members} networks"},
        systems=systems,
        seconds=total_seconds(results),
        verdict=_verdict(systems, derived, plan.num_members),
        derived=derived,
        published=PUBLISHED,
        notes=[plan.note, _counted(plan)],
    )


def _told(kind: str, count: int, seeds: int, results: Mapping[str, JobResult]) -> list[list[Tensor]]:
    """Return the test logits of each seed's networks of a kind."""
    folders = [[results[f"{kind}-{seed}-{number}"].folder for number in range(count)] for seed in range(seeds)]
    return [[read_logits(folder) for folder in group] for group in folders]


def _counted(plan: EnsemblePlan) -> str:
    students = "is its student's" if plan.num_students == 1 else f"of its {plan.num_students} students"
    return (
        f"A seed's figure is the mean of its {plan.num_members} members, or {students}; `distilled_from_one` is taught "
        "by the first member alone, on the same images."
    )


def _kept(systems: Mapping[str, Any], name: str) -> float | None:
    """Return the share of the ensemble's gain over one member that a student keeps."""
    student, single, ensemble = (systems[key]["accuracy"]["mean"] for key in (name, "single", "ensemble"))
    return gap_recovered(student, single, ensemble)


def _verdict(systems: Mapping[str, Any], derived: Mapping[str, Any], num_members: int) -> str:
    single, ensemble, student, from_one = (f"{system['errors']['mean']:.0f}" for system in systems.values())
    kept = derived["kept"]
    share = "there is no gain to keep" if kept is None else f"it keeps {kept:.0%} of the gain"
    return (
        f"One network makes {single} errors, {num_members} averaged {ensemble}, one network of the same size taught by "
        f"them {student}: {share} (the paper, on speech: 86%). Taught by one member it makes {from_one}."
    )
