"""``hinton-ensemble``: section 4's question on MNIST, an ensemble distilled into one network of its members' size.

Members that learn from the same labels agree so much here that averaging gains too little to be measured; each learns
from a draw of its own, which the paper reports to change little in speech.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import Field

from moist.config import load_config
from moist.evaluation import gap_recovered
from moist.recipes.hinton.digits import DigitsSettings, digits_facts, plain_network, student_settings, test_target
from moist.recipes.hinton.networks import log_mean_probabilities, network_job, read_logits
from moist.recipes.hinton.rows import RowsSettings
from moist.recipes.hinton.studying import costs_of, num_errors, system_entry, total_seconds
from moist.recipes.study import StudyRequest, study_document
from moist.tasks import LossSettings
from moist.training import Job, JobResult, JobsSettings, run_jobs

__all__ = ["EnsembleSettings", "run"]

PUBLISHED = {
    "source": "Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 4: speech, frame accuracy",
    "accuracy": {"single": 0.589, "ensemble_10": 0.611, "distilled": 0.608},
    "kept": 0.86,
}
SMALL: dict[str, Any] = {"limit": 3000, "num_members": 3, "student_epochs": 4, "member_epochs": 4}
DRAWS = 1000  # seeds of different ensembles lie so far apart


class EnsembleSettings(DigitsSettings):
    """Settings of the study.

    Args:
        student_epochs: passes over all images for each student.
        temperature: of the soft targets.
        hard_weight: share of the labels' cross-entropy; none, since the students get no labels.
        units: of each hidden layer, of members and students alike.
        num_members: networks in an ensemble.
        member_share: of the labels of each class that a member gets, in a draw of its own.
        member_epochs: passes over a member's rows.
        member_batch_size: its images in a step.
        member_learning_rate: its peak.
        num_students: networks distilled from each ensemble.
        jobs: processes.
    """

    student_epochs: int = Field(30, ge=1)
    temperature: float = Field(1.0, gt=0)
    hard_weight: float = Field(0.0, ge=0, le=1)
    units: int = Field(300, ge=1)
    num_members: int = Field(10, ge=2)
    member_share: float = Field(0.1, gt=0, le=1)
    member_epochs: int = Field(20, ge=1)
    member_batch_size: int = Field(128, ge=1)
    member_learning_rate: float = Field(1e-3, gt=0)
    num_students: int = Field(2, ge=1)
    jobs: JobsSettings = JobsSettings()


def run(request: StudyRequest) -> dict[str, Any]:
    """Train an ensemble for every seed, and networks like its members on its soft targets; return the document."""
    settings = load_config(EnsembleSettings, SMALL if request.budget == "small" else {}, request.overrides)
    results = run_jobs(list(_jobs(request, settings)), settings.jobs, quiet=request.quiet)
    return _document(request, settings, results)


def _jobs(request: StudyRequest, settings: EnsembleSettings) -> Iterator[Job]:
    """Yield the members of each seed's ensemble, the students of all of them, and one student of a single member."""
    for seed in range(request.seeds):
        members = [_member_job(request, settings, seed, number) for number in range(settings.num_members)]
        yield from members
        for number in range(settings.num_students):
            yield _student_job(request, settings, f"distilled-{seed}-{number}", DRAWS * seed + number, members)
        yield _student_job(request, settings, f"from_one-{seed}-0", DRAWS * seed, members[:1])


def _member_job(request: StudyRequest, settings: EnsembleSettings, seed: int, number: int) -> Job:
    name, draw = f"member-{seed}-{number}", DRAWS * (seed + 1) + number
    training = settings.training(
        settings.member_epochs, batch_size=settings.member_batch_size, learning_rate=settings.member_learning_rate
    )
    network = student_settings(
        settings, settings.units, draw, rows=RowsSettings(fraction=settings.member_share, seed=draw), signals=True
    )
    network = network.model_copy(update={"training": training, "loss": LossSettings()})
    return network_job(name, network, request.out / name)


def _student_job(
    request: StudyRequest, settings: EnsembleSettings, name: str, seed: int, teachers: Sequence[Job]
) -> Job:
    network = student_settings(settings, settings.units, seed)
    return network_job(name, network, request.out / name, {job.name: job.folder for job in teachers})


def _document(request: StudyRequest, settings: EnsembleSettings, results: Mapping[str, JobResult]) -> dict[str, Any]:
    data, target = digits_facts(settings), test_target(settings)
    costs = costs_of(plain_network(settings.units))
    counts = {"member": settings.num_members, "distilled": settings.num_students, "from_one": 1}
    told = {
        kind: [
            [read_logits(results[f"{kind}-{seed}-{number}"].folder) for number in range(count)]
            for seed in range(request.seeds)
        ]
        for kind, count in counts.items()
    }
    wrong = {kind: [[num_errors(one, target) for one in group] for group in groups] for kind, groups in told.items()}
    single, distilled, from_one = ([fmean(group) for group in wrong[kind]] for kind in counts)
    ensemble = [num_errors(log_mean_probabilities(group), target) for group in told["member"]]
    systems = {
        "single": system_entry(single, data["test"], costs),
        "ensemble": system_entry(
            ensemble, data["test"], {key: settings.num_members * value for key, value in costs.items()}
        ),
        "distilled": system_entry(distilled, data["test"], costs),
        "distilled_from_one": system_entry(from_one, data["test"], costs),
    }
    derived = {
        "kept": _kept(systems, "distilled"),
        "kept_from_one": _kept(systems, "distilled_from_one"),
        "errors_of_each": wrong,
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
            f"A member learns from the labels of {settings.member_share:.0%} of the images, in a draw of its own; a "
            "student from soft targets of all images, and from no label. The paper's members share all data and differ "
            "in their start.",
            f"A seed's figure is the mean of its {settings.num_members} members, or of its {settings.num_students} "
            "students; `distilled_from_one` is taught by the first member alone, on the same images.",
        ],
    )


def _kept(systems: Mapping[str, Any], name: str) -> float | None:
    """Return the share of the ensemble's gain over one member that a student keeps."""
    student, single, ensemble = (systems[key]["accuracy"]["mean"] for key in (name, "single", "ensemble"))
    return gap_recovered(student, single, ensemble)


def _verdict(systems: Mapping[str, Any], derived: Mapping[str, Any], settings: EnsembleSettings) -> str:
    single, ensemble, student, from_one = (f"{system['errors']['mean']:.0f}" for system in systems.values())
    kept = derived["kept"]
    share = "there is no gain to keep" if kept is None else f"it keeps {kept:.0%} of the gain"
    return (
        f"One network makes {single} errors, {settings.num_members} averaged {ensemble}, one network of the same size "
        f"taught by them {student}: {share} (the paper, on speech: 86%). Taught by one member it makes {from_one}."
    )
