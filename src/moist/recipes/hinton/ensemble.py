"""``hinton-ensemble``: section 4's question on MNIST, an ensemble distilled into one network of its members' size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from moist.config import load_config
from moist.evaluation import gap_recovered
from moist.recipes.hinton.digits import DigitsSettings, digits_facts, plain_network, student_settings, test_target
from moist.recipes.hinton.networks import NetworkSettings, log_mean_probabilities, network_job, read_logits
from moist.recipes.hinton.studying import costs_of, num_errors, system_entry, total_seconds
from moist.recipes.results import spread
from moist.recipes.study import StudyRequest, study_document
from moist.training import Job, JobResult, JobsSettings, run_jobs

__all__ = ["EnsembleSettings", "run"]

PUBLISHED = {
    "source": "Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 4: speech, frame accuracy",
    "accuracy": {"single": 0.589, "ensemble_10": 0.611, "distilled": 0.608},
    "kept": 0.86,
}
SMALL: dict[str, Any] = {"limit": 3000, "num_members": 3, "student_epochs": 4, "member_epochs": 4}
DRAWS_APART = 1000  # members of different ensembles, and students, start from different weights


class EnsembleSettings(DigitsSettings):
    """Settings of the study.

    Args:
        student_epochs: passes over the data for each student.
        temperature: of the soft targets; low, since the students are narrow.
        units: of each hidden layer, of members and students alike.
        num_members: networks in an ensemble.
        member_epochs: passes over the data for each member.
        num_students: networks distilled from each ensemble.
        jobs: processes.
    """

    student_epochs: int = Field(25, ge=1)
    temperature: float = Field(4.0, gt=0)
    units: int = Field(100, ge=1)
    num_members: int = Field(10, ge=2)
    member_epochs: int = Field(10, ge=1)
    num_students: int = Field(2, ge=1)
    jobs: JobsSettings = JobsSettings()


def run(request: StudyRequest) -> dict[str, Any]:
    """Train an ensemble for every seed, and networks like its members on its soft targets; return the document."""
    settings = load_config(EnsembleSettings, SMALL if request.budget == "small" else {}, request.overrides)
    results = run_jobs(list(_jobs(request, settings)), settings.jobs, quiet=request.quiet)
    return _document(request, settings, results)


def _jobs(request: StudyRequest, settings: EnsembleSettings) -> Iterator[Job]:
    for seed in range(request.seeds):
        members = {}
        for number in range(settings.num_members):
            job = network_job(
                f"member-{seed}-{number}",
                _member(settings, DRAWS_APART * (seed + 1) + number),
                request.out / f"member-{seed}-{number}",
            )
            members[job.name] = job.folder
            yield job
        for number in range(settings.num_students):
            name = f"distilled-{seed}-{number}"
            student = student_settings(settings, settings.units, seed * settings.num_students + number)
            yield network_job(name, student, request.out / name, members)


def _member(settings: EnsembleSettings, seed: int) -> NetworkSettings:
    return student_settings(settings, settings.units, seed, epochs=settings.member_epochs, signals=True)


def _document(request: StudyRequest, settings: EnsembleSettings, results: Mapping[str, JobResult]) -> dict[str, Any]:
    data, target = digits_facts(settings), test_target(settings)
    costs = costs_of(plain_network(settings.units))
    singles, ensembles, students = [], [], []
    for seed in range(request.seeds):
        members = [read_logits(results[f"member-{seed}-{n}"].folder) for n in range(settings.num_members)]
        distilled = [read_logits(results[f"distilled-{seed}-{n}"].folder) for n in range(settings.num_students)]
        singles.append([num_errors(logits, target) for logits in members])
        ensembles.append(num_errors(log_mean_probabilities(members), target))
        students.append([num_errors(logits, target) for logits in distilled])
    means = [[sum(one) / len(one) for one in group] for group in (singles, students)]
    whole = {key: settings.num_members * value for key, value in costs.items()}
    systems = {
        "single": system_entry(means[0], data["test"], costs),
        "ensemble": system_entry(ensembles, data["test"], whole),
        "distilled": system_entry(means[1], data["test"], costs),
    }
    single, ensemble, student = (system["accuracy"]["mean"] for system in systems.values())
    derived = {
        "kept": gap_recovered(student, single, ensemble),
        "kept_by_seed": [gap_recovered(-s, -m, -e) for m, e, s in zip(means[0], ensembles, means[1])],
        "errors": {"single": singles, "ensemble": ensembles, "distilled": students},
        "spread_of_singles": [spread(one)["std"] for one in singles],
    }
    return study_document(
        request,
        data=data,
        teacher={"name": f"mean probabilities of {settings.num_members} networks"},
        systems=systems,
        seconds=total_seconds(results),
        verdict=_verdict(systems, derived, settings),
        derived=derived,
        published=PUBLISHED,
        notes=[
            f"An ensemble and {settings.num_students} students for every seed; a seed's figure is the mean of its "
            f"{settings.num_members} members, or of its students."
        ],
    )


def _verdict(systems: Mapping[str, Any], derived: Mapping[str, Any], settings: EnsembleSettings) -> str:
    single, ensemble, student = (f"{system['errors']['mean']:.0f}" for system in systems.values())
    kept = derived["kept"]
    share = "there is no gain to keep" if kept is None else f"it keeps {kept:.0%} of the gain"
    return (
        f"One network makes {single} errors, {settings.num_members} averaged {ensemble}, one network of the same size "
        f"taught by them {student}: {share} (the paper, on speech: 86%)."
    )
