"""``hinton-mnist``: section 3 of the paper, a large regularised network distilled into a small plain one."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
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
    teacher_network,
    teachers_and_targets,
    test_errors,
)
from moist.recipes.hinton.networks import NetworkSettings, network_job
from moist.recipes.hinton.studying import run_after_shared, total_seconds
from moist.recipes.study import StudyRequest, study_document
from moist.tasks import LossSettings
from moist.training import Job, JobResult, JobsSettings

__all__ = ["MnistSettings", "run"]

# Errors among the 10,000 test images: the paper's section 3.
PUBLISHED = {
    "source": "Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 3",
    "errors": {"teacher": 67, "plain_800": 146, "distilled_800": 74},
    "temperature": "300 or more units a layer: all above 8 alike; 30 units: 2.5 to 4 best",
}
ALIKE = 8.0  # temperatures above this one should not differ for wide networks


class MnistSettings(TaughtSettings):
    """Settings of the study.

    Args:
        units: of each hidden layer of the student.
        sweep_units: widths of the sweep.
        sweep_temperatures: temperatures of the sweep.
        sweep_epochs: passes over the data for each network of the sweep, which is trained as the plain network is.
        sweep_hard_weight: share of the labels' cross-entropy in the sweep.
        jobs: processes.
    """

    units: int = Field(800, ge=1)
    sweep_units: tuple[int, ...] = (30, 300, 800)
    sweep_temperatures: tuple[float, ...] = (1.0, 2.5, 4.0, 8.0, 20.0)
    sweep_epochs: int = Field(12, ge=1)
    sweep_hard_weight: float = Field(0.1, ge=0, le=1)
    jobs: JobsSettings = JobsSettings()


def run(request: StudyRequest) -> dict[str, Any]:
    """Train teachers, plain and distilled students for every seed, and the sweep for the first; return the document."""
    small = {**SMALL, "sweep_epochs": 3, "sweep_temperatures": [2.5, 20.0]} if request.budget == "small" else {}
    settings = load_config(MnistSettings, small, request.overrides)
    teachers, targets = teachers_and_targets(request, settings)
    jobs = list(_student_jobs(request, settings, {job.name: job.folder for job in (*teachers, *targets)}))
    plain = [plain_job(request, settings, settings.units, seed) for seed in range(request.seeds)]
    results = run_after_shared(request, [*teachers, *targets, *plain], jobs, settings.jobs)
    return _document(request, settings, results)


def _student_jobs(request: StudyRequest, settings: MnistSettings, folders: Mapping[str, Path]) -> Iterator[Job]:
    """Yield the jobs: distilled for every seed, then the sweep of temperatures and widths for seed 0."""
    for seed in range(request.seeds):
        targets = {f"targets-{seed}": folders[f"targets-{seed}"]}
        student = taught(settings, student_settings(settings, settings.units, seed))
        yield network_job(f"distilled-{seed}", student, request.out / f"distilled-{seed}", targets)
    for units in settings.sweep_units:
        for temperature in settings.sweep_temperatures:
            student = _sweep_student(settings, units, temperature)
            name = f"sweep-{units}-{temperature:g}"
            yield network_job(name, student, request.out / name, {"teacher-0": folders["teacher-0"]})


def _sweep_student(settings: MnistSettings, units: int, temperature: float) -> NetworkSettings:
    network = student_settings(settings, units, 0, epochs=settings.sweep_epochs)
    loss = LossSettings(temperature=temperature, hard_weight=settings.sweep_hard_weight)
    return network.model_copy(update={"loss": loss})


def _document(
    request: StudyRequest,
    settings: MnistSettings,
    results: Mapping[str, JobResult],
) -> dict[str, Any]:
    data = digits_facts(settings)
    small = plain_network(settings.units)
    networks = {"teacher": teacher_network(settings), "plain": small, "distilled": small}
    teacher, plain, distilled = (
        digits_entry(settings, network, [results[f"{kind}-{seed}"].folder for seed in range(request.seeds)])
        for kind, network in networks.items()
    )
    systems = {"teacher": teacher, "student_plain": plain, "student_distilled": distilled}
    sweep = {
        str(units): {
            f"{t:g}": test_errors(settings, results[f"sweep-{units}-{t:g}"].folder) for t in settings.sweep_temperatures
        }
        for units in settings.sweep_units
    }
    kept = gap_recovered(*(system["accuracy"]["mean"] for system in (distilled, plain, teacher)))
    derived = {"sweep_errors": sweep, "findings": sweep_findings(sweep), "kept": kept}
    return study_document(
        request,
        data=data,
        teacher=TEACHER,
        systems=systems,
        seconds=total_seconds(results),
        verdict=_verdict(systems, derived),
        derived=derived,
        published=PUBLISHED,
        notes=[
            f"{TARGETS} The student sees the images unmoved.",
            f"The sweep has one seed and {settings.sweep_epochs} epochs of AdamW a network, the same for all of it, on "
            "what the teacher says of the unmoved image.",
        ],
    )


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
    teacher, plain, distilled = (
        f"{systems[name]['errors']['mean']:.0f}" for name in ("teacher", "student_plain", "student_distilled")
    )
    best = ", ".join(f"{f['best_temperature']:g} at {units} units" for units, f in derived["findings"].items())
    return (
        f"Distilled, the small network makes {distilled} errors, trained on labels {plain}, its "
        f"teacher {teacher} (the paper: 74, 146, 67). Best temperature: {best}."
    )
