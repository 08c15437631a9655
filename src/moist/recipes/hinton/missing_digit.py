"""``hinton-missing-digit``: section 3's students that never saw a 3, or anything but 7 and 8, and their biases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import Tensor

from moist.config import load_config
from moist.recipes.hinton.correction import matching_shift, optimal_shift, shift_classes
from moist.recipes.hinton.digits import (
    SMALL,
    TARGETS,
    TEACHER,
    TaughtSettings,
    digits_entry,
    digits_facts,
    plain_network,
    student_settings,
    taught,
    teacher_network,
    teachers_and_targets,
)
from moist.recipes.hinton.networks import network_job, read_logits, read_signals
from moist.recipes.hinton.rows import RowsSettings
from moist.recipes.hinton.studying import (
    costs_of,
    num_errors,
    run_after_shared,
    system_entry,
    test_target_of,
    total_seconds,
    train_target_of,
)
from moist.recipes.results import spread
from moist.recipes.study import StudyRequest, study_document
from moist.training import Job, JobResult, JobsSettings

__all__ = ["MissingDigitSettings", "run"]

PUBLISHED = {
    "source": "Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 3",
    "errors": {"without_3": 206, "without_3_corrected": 109, "only_78": 4730, "only_78_corrected": 1320},
    "errors_on_3": {"without_3": 133, "without_3_corrected": 14},
    "shift": {"without_3": 3.5, "only_78": -7.6},
}
# How a shift is found. The first is the study's own; the last is the paper's, which looks at the test part's labels.
RULES = ("share", "training", "test")


class MissingDigitSettings(TaughtSettings):
    """Settings of the study.

    Args:
        units: of each hidden layer of the students.
        few_epochs: passes over the data for the student that sees 7s and 8s only, a fifth of the images.
        few_learning_rate: its peak; at that of the other students it diverges.
        jobs: processes.
    """

    units: int = Field(800, ge=1)
    few_epochs: int = Field(60, ge=1)
    few_learning_rate: float = Field(0.02, gt=0)
    jobs: JobsSettings = JobsSettings()


@dataclass(frozen=True)
class _Case:
    """One transfer set, and the classes whose biases are corrected together."""

    rows: RowsSettings
    corrected: tuple[int, ...]


CASES = {
    "without_3": _Case(RowsSettings(without=(3,)), (3,)),
    "only_78": _Case(RowsSettings(only=(7, 8)), (7, 8)),
}


def run(request: StudyRequest) -> dict[str, Any]:
    """Train both students for every seed, correct their biases in each way and return the document."""
    small = {**SMALL, "few_epochs": 10} if request.budget == "small" else {}
    settings = load_config(MissingDigitSettings, small, request.overrides)
    teachers, targets = teachers_and_targets(request, settings)
    jobs = list(_student_jobs(request, settings, {job.name: job.folder for job in targets}))
    results = run_after_shared(request, [*teachers, *targets], jobs, settings.jobs)
    return _document(request, settings, results)


def _student_jobs(request: StudyRequest, settings: MissingDigitSettings, targets: Mapping[str, Path]) -> Iterator[Job]:
    for seed in range(request.seeds):
        recorded = {f"targets-{seed}": targets[f"targets-{seed}"]}
        for name, case in CASES.items():
            epochs, rate = (settings.few_epochs, settings.few_learning_rate) if case.rows.only else (None, None)
            network = student_settings(settings, settings.units, seed, epochs=epochs, rows=case.rows, signals=True)
            student = taught(settings, network, rate)
            yield network_job(f"{name}-{seed}", student, request.out / f"{name}-{seed}", recorded)


def _document(
    request: StudyRequest,
    settings: MissingDigitSettings,
    results: Mapping[str, JobResult],
) -> dict[str, Any]:
    data, costs = digits_facts(settings), costs_of(plain_network(settings.units))
    teachers = [results[f"teacher-{seed}"].folder for seed in range(request.seeds)]
    systems: dict[str, Any] = {"teacher": digits_entry(settings, teacher_network(settings), teachers)}
    shifts: dict[str, Any] = {}
    for name, case in CASES.items():
        folders = [results[f"{name}-{seed}"].folder for seed in range(request.seeds)]
        found = [_shifts(settings, folder, case.corrected) for folder in folders]
        shifts[name] = {rule: spread([one[rule] for one in found]) for rule in RULES}
        logits = [read_logits(folder) for folder in folders]
        systems[name] = _entry(logits, settings, costs)
        for rule in RULES:
            shifted = [shift_classes(told, case.corrected, one[rule]) for told, one in zip(logits, found)]
            systems[_corrected(name, rule)] = _entry(shifted, settings, costs)
    return study_document(
        request,
        data=data,
        teacher=TEACHER,
        systems=systems,
        seconds=total_seconds(results),
        verdict=_verdict(systems),
        derived={"shift": shifts},
        published=PUBLISHED,
        notes=[
            f"{TARGETS} The student sees the images unmoved.",
            "A shift is found without labels, so that the classes are given to as many training images as belong to "
            "them (`corrected`), with the fewest errors on training images (`corrected_by_training`), or, as in the "
            "paper, with the fewest errors on the test images themselves (`corrected_by_test`).",
        ],
    )


def _corrected(name: str, rule: str) -> str:
    return f"{name}_corrected" if rule == RULES[0] else f"{name}_corrected_by_{rule}"


def _shifts(settings: MissingDigitSettings, folder: Path, classes: tuple[int, ...]) -> dict[str, float]:
    """Return the shift of each rule for one student."""
    train, target = read_signals(folder), train_target_of(settings.data)
    share = sum(float((target == label).float().mean()) for label in classes)
    return {
        "share": matching_shift(train, classes, share),
        "training": optimal_shift(train, target, classes),
        "test": optimal_shift(read_logits(folder), test_target_of(settings.data), classes),
    }


def _entry(logits: list[Tensor], settings: MissingDigitSettings, costs: Mapping[str, Any]) -> dict[str, Any]:
    """Return one system's entry, with its errors among the 3s."""
    target = test_target_of(settings.data)
    threes = target == 3
    wrong = [num_errors(told[threes], target[threes]) for told in logits]
    return {
        **system_entry([num_errors(told, target) for told in logits], len(target), costs),
        "errors_on_3": spread(wrong),
        "accuracy_on_3": spread([1 - count / int(threes.sum()) for count in wrong]),
    }


def _verdict(systems: Mapping[str, Any]) -> str:
    wrong = {name: system["errors"]["mean"] for name, system in systems.items()}
    total = wrong["only_78"] / (1 - systems["only_78"]["accuracy"]["mean"])
    threes = systems["without_3_corrected"]["accuracy_on_3"]["mean"]
    return (
        f"Without a 3 in its transfer set the student makes {wrong['without_3']:.0f} errors, with its bias corrected "
        f"{wrong['without_3_corrected']:.0f}, and knows {threes:.1%} of the 3s (the paper: 206, 109, 98.6%). Taught on "
        f"7s and 8s alone it errs on {wrong['only_78'] / total:.1%}, corrected on "
        f"{wrong['only_78_corrected'] / total:.1%} (the paper: 47.3%, 13.2%)."
    )
