"""``hinton-mnist``: section 3 of the paper, a large regularised network distilled into a small plain one."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from moist.config import load_config
from moist.evaluation import gap_recovered
from moist.recipes.hinton.digits import (
    SMALL,
    TARGETS,
    TEACHER,
    TaughtSettings,
    digits_entry,
    digits_facts,
    plain_job,
    plain_network,
    student_settings,
    taught,
    teacher_job,
    teacher_network,
    teacher_settings,
    test_errors,
)
from moist.recipes.hinton.networks import NetworkSettings, network_job
from moist.recipes.hinton.recording import recording_job
from moist.recipes.hinton.shrinking import shrinking_job
from moist.recipes.hinton.studying import run_after_shared, total_seconds
from moist.recipes.study import StudyRequest, study_document
from moist.students import StudentSettings
from moist.tasks import LossSettings
from moist.training import Job, JobResult, JobsSettings

__all__ = ["MnistSettings", "run"]

# Errors among the 10,000 test images: the paper's section 3.
PUBLISHED = {
    "source": "Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 3",
    "errors": {"teacher": 67, "plain_800": 146, "distilled_800": 74},
    "temperature": "300 or more units a layer: all above 8 alike; 30 units: 2.5 to 4 best",
}
SMALL_STUDY: dict[str, Any] = {
    **SMALL,
    "sweep_epochs": 3,
    "sweep_temperatures": [2.5, 20.0],
    "averaging_epochs": 2,
    "started_epochs": 2,
    "mixed_epochs": 2,
}
SEEDS_APART = 1000  # between a teacher's first passes and its further ones, which move the images anew
JOBS = {
    "teacher": "averaged",
    "student_plain": "plain",
    "student_distilled": "distilled",
    "student_distilled_mixed": "mixed",
    "student_units": "units",
    "student_started": "started",
}
ALIKE = 8.0  # temperatures above this one should not differ for wide networks


class MnistSettings(TaughtSettings):
    """Settings of the study.

    Args:
        averaging_epochs: further passes of the teacher, at the end of which its weights are averaged.
        averaging_rate: its learning rate in these passes.
        averaged_share: of their steps, whose weights the mean is of.
        started_epochs: passes for the student that starts from its teacher's units.
        started_learning_rate: its peak.
        mixed_epochs: passes for the student whose transfer set is mixes of two images.
        mixed_share: share of its images that are mixed with another.
        units: of each hidden layer of the student.
        sweep_units: widths of the sweep.
        sweep_temperatures: temperatures of the sweep.
        sweep_epochs: passes over the data for each network of the sweep, which is trained as the plain network is.
        sweep_hard_weight: share of the labels' cross-entropy in the sweep.
        jobs: processes.
    """

    averaging_epochs: int = Field(40, ge=1)
    averaging_rate: float = Field(5e-4, gt=0)
    averaged_share: float = Field(0.85, gt=0, lt=1)
    started_epochs: int = Field(20, ge=1)
    started_learning_rate: float = Field(0.01, gt=0)
    mixed_epochs: int = Field(100, ge=1)
    mixed_share: float = Field(1.0, gt=0, le=1)
    units: int = Field(800, ge=1)
    sweep_units: tuple[int, ...] = (30, 300, 800)
    sweep_temperatures: tuple[float, ...] = (1.0, 2.5, 4.0, 8.0, 20.0)
    sweep_epochs: int = Field(12, ge=1)
    sweep_hard_weight: float = Field(0.1, ge=0, le=1)
    jobs: JobsSettings = JobsSettings()


def run(request: StudyRequest) -> dict[str, Any]:
    """Train teachers, plain and distilled students for every seed, and the sweep for the first; return the document."""
    small = SMALL_STUDY if request.budget == "small" else {}
    settings = load_config(MnistSettings, small, request.overrides)
    seeds = range(request.seeds)
    teachers = [teacher_job(request, settings, seed) for seed in seeds]
    plain = [plain_job(request, settings, settings.units, seed) for seed in seeds]
    jobs = [job for seed in seeds for job in _seed_jobs(request, settings, teachers[seed], seed)]
    jobs += _sweep_jobs(request, settings, teachers[0])
    return _document(request, settings, run_after_shared(request, [*teachers, *plain], jobs, settings.jobs))


def _seed_jobs(request: StudyRequest, settings: MnistSettings, first: Job, seed: int) -> Iterator[Job]:
    """Yield one seed's jobs: the averaged teacher, what it says, its units alone, and the students of both starts."""
    teacher = _averaged_job(request, settings, first, seed)
    targets = recording_job(f"targets-{seed}", teacher, request.out / f"targets-{seed}")
    said = recording_job(f"said-{seed}", teacher, request.out / f"said-{seed}", moved=False)
    student = taught(settings, student_settings(settings, settings.units, seed))
    units = shrinking_job(f"units-{seed}", teacher, student.student, request.out / f"units-{seed}")
    yield from (teacher, targets, said, units)
    yield network_job(f"distilled-{seed}", student, request.out / f"distilled-{seed}", {targets.name: targets.folder})
    mixed = _mixed_student(settings, seed)
    yield network_job(f"mixed-{seed}", mixed, request.out / f"mixed-{seed}", {teacher.name: teacher.folder})
    again = taught(
        settings,
        student_settings(settings, settings.units, seed, epochs=settings.started_epochs),
        settings.started_learning_rate,
    )
    yield network_job(f"started-{seed}", again, request.out / f"started-{seed}", {said.name: said.folder}, units)


def _mixed_student(settings: MnistSettings, seed: int) -> NetworkSettings:
    """Return the student with a random start that learns what its teacher says of mixes of two images."""
    network = taught(settings, student_settings(settings, settings.units, seed, epochs=settings.mixed_epochs))
    return network.model_copy(update={"mixed": settings.mixed_share, "live": teacher_network(settings)})


def _averaged_job(request: StudyRequest, settings: MnistSettings, teacher: Job, seed: int) -> Job:
    """Return the job that trains a teacher further, at a constant learning rate, and averages its weights."""
    network = teacher_settings(settings, seed + SEEDS_APART)
    training = settings.training(settings.averaging_epochs, learning_rate=settings.averaging_rate)
    network = network.model_copy(update={"training": training, "average": settings.averaged_share, "signals": False})
    return network_job(f"averaged-{seed}", network, request.out / f"averaged-{seed}", start=teacher)


def _sweep_jobs(request: StudyRequest, settings: MnistSettings, teacher: Job) -> Iterator[Job]:
    """Yield the jobs of the sweep of temperatures and widths."""
    for units in settings.sweep_units:
        for temperature in settings.sweep_temperatures:
            student = _sweep_student(settings, units, temperature)
            name = f"sweep-{units}-{temperature:g}"
            yield network_job(name, student, request.out / name, {teacher.name: teacher.folder})


def _sweep_student(settings: MnistSettings, units: int, temperature: float) -> NetworkSettings:
    network = student_settings(settings, units, 0, epochs=settings.sweep_epochs)
    loss = LossSettings(temperature=temperature, hard_weight=settings.sweep_hard_weight)
    return network.model_copy(update={"loss": loss})


def _document(
    request: StudyRequest,
    settings: MnistSettings,
    results: Mapping[str, JobResult],
) -> dict[str, Any]:
    def entry(job: str, network: StudentSettings) -> dict[str, Any]:
        return digits_entry(settings, network, [results[f"{job}-{seed}"].folder for seed in range(request.seeds)])

    small, large = plain_network(settings.units), teacher_network(settings)
    systems = {name: entry(job, large if name == "teacher" else small) for name, job in JOBS.items()}
    sweep = {
        str(units): {
            f"{t:g}": test_errors(settings, results[f"sweep-{units}-{t:g}"].folder) for t in settings.sweep_temperatures
        }
        for units in settings.sweep_units
    }
    plain, teacher = (systems[name]["accuracy"]["mean"] for name in ("student_plain", "teacher"))
    kept = {
        name: gap_recovered(systems[name]["accuracy"]["mean"], plain, teacher)
        for name in ("student_distilled", "student_distilled_mixed", "student_started")
    }
    before = entry("teacher", large)["errors"]
    derived = {
        "sweep_errors": sweep,
        "findings": sweep_findings(sweep),
        "kept": kept,
        "teacher_before_averaging": before,
    }
    return study_document(
        request,
        data=digits_facts(settings),
        teacher=TEACHER,
        systems=systems,
        seconds=total_seconds(results),
        verdict=_verdict(systems, derived),
        derived=derived,
        published=PUBLISHED,
        notes=_notes(settings, before),
    )


def _notes(settings: MnistSettings, before: Mapping[str, Any]) -> list[str]:
    return [
        f"The teacher goes on for {settings.averaging_epochs} epochs at a constant learning rate, and its weights are "
        f"averaged over the last {settings.averaged_share:.0%} of them; before, it made {before['mean']:.1f} errors.",
        f"{TARGETS} That is for the first student with a random start, which sees the images as they are. No student "
        "sees a moved image, or a label.",
        f"The second one's transfer set is not the paper's: {settings.mixed_share:.0%} of the images are mixed with "
        "another, blended or cut along a line, and its teacher is asked about the very mix. It has "
        f"{settings.mixed_epochs} epochs, each of other mixes; the first student has {settings.student_epochs}.",
        "The third student, which is not the paper's, starts from those of its teacher's units that matter most, the "
        "next layer's weights refitted by least squares; then it learns what the teacher says of images as they are.",
        f"The sweep has one seed and {settings.sweep_epochs} epochs of AdamW a network, the same for all of it, on "
        "what the teacher, before its weights are averaged, says of the unmoved image.",
    ]


def sweep_findings(sweep: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Return, for each width, what the errors say of the paper's two findings.

    Wide networks' errors at the temperatures from 8 on count as alike where the most and the fewest differ by no more
    than two standard errors of a difference between independent counts, 2 √(2 n).

    Args:
        sweep: units, then temperature, to errors on the test part.
    """
    findings = {}
    for units, by_temperature in sweep.items():
        high = [wrong for t, wrong in by_temperature.items() if float(t) >= ALIKE]
        noise = (2 * statistics.fmean(by_temperature.values())) ** 0.5
        findings[units] = {
            "best_temperature": float(min(by_temperature, key=lambda t: by_temperature[t])),
            "range": max(by_temperature.values()) - min(by_temperature.values()),
            "range_from_8": max(high) - min(high) if high else None,
            "alike_from_8": max(high) - min(high) <= 2 * noise if high else None,
            "standard_error": noise,
        }
    return findings


def _verdict(systems: Mapping[str, Any], derived: Mapping[str, Any]) -> str:
    wrong = {name: f"{system['errors']['mean']:.0f}" for name, system in systems.items()}
    best = ", ".join(f"{f['best_temperature']:g} at {units} units" for units, f in derived["findings"].items())
    return (
        f"Distilled from a random start, the small network makes {wrong['student_distilled']} errors on images as they "
        f"are and {wrong['student_distilled_mixed']} on mixes of two; started from its teacher's units "
        f"{wrong['student_started']}, trained on labels {wrong['student_plain']}, its teacher {wrong['teacher']} (the "
        f"paper: 74, 146, 67). Best temperature: {best}."
    )
