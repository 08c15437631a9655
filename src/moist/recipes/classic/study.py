"""The study ``classic-tables``: every system on every fold of every table, then their averages and the claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from pydantic import Field, field_validator, model_validator

from moist.config import Settings, load_config, nearest
from moist.recipes.classic.summary import compare, gather, summarize, verdict
from moist.recipes.classic.systems import DESLIB, DISTILLED, SYSTEMS, TEACHER
from moist.recipes.classic.tables import TABLES
from moist.recipes.study import StudyRequest, study_document
from moist.training import Job, JobsSettings, run_jobs

__all__ = ["TablesSettings", "plan", "run"]

MEASURE = "moist.recipes.classic.measure"
SMALL = {"data": ["iris", "wine"], "folds": 2, "systems": [name for name in SYSTEMS if name not in DESLIB]}


class TablesSettings(Settings):
    """What of the study to run."""

    data: tuple[str, ...] = Field(TABLES, min_length=1, description="the tables")
    systems: tuple[str, ...] = Field(SYSTEMS, min_length=1, description="the systems")
    folds: int = Field(5, ge=2, description="folds of each seed")
    max_rows: int | None = Field(10_000, ge=100, description="rows drawn of each larger table; none: whole tables")
    jobs: JobsSettings = JobsSettings()

    @field_validator("data", "systems")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = {*TABLES, *SYSTEMS}
        for name in names:
            if name not in known:
                raise ValueError(f"no table or system is called {name!r}. {nearest(name, known)}")
        return names

    @model_validator(mode="after")
    def _taught(self) -> TablesSettings:
        if DISTILLED in self.systems and TEACHER not in self.systems:
            raise ValueError(f"{DISTILLED} is taught by {TEACHER}, got systems without it; add it")
        return self


def plan(settings: TablesSettings, request: StudyRequest) -> list[Job]:
    """Return the jobs in the order to start them: whole seeds first; DESlib's, which take longest, last in each."""
    jobs = []
    plain = [name for name in settings.systems if name not in DESLIB]
    for seed in range(request.seeds):
        common = {"seed": seed, "folds": settings.folds, "max_rows": settings.max_rows}
        for data, fold, system in product(settings.data, range(settings.folds), plain):
            payload = {**common, "data": data, "fold": fold, "system": system}
            name = f"{data}/seed-{seed}/fold-{fold}"
            if system == DISTILLED:
                job = _job(request, f"{name}/{system}", "measure_distilled", payload)
                jobs.append(replace(job, after=(f"{name}/{TEACHER}",)))
            else:
                jobs.append(_job(request, f"{name}/{system}", "measure_system", payload))
        if set(DESLIB) & set(settings.systems):
            jobs += [
                _job(request, f"{data}/seed-{seed}/deslib", "measure_deslib", {**common, "data": data})
                for data in settings.data
            ]
    return jobs


def _job(request: StudyRequest, name: str, function: str, payload: dict[str, Any]) -> Job:
    return Job(name, f"{MEASURE}:{function}", payload, request.out / "jobs" / name)


def run(request: StudyRequest) -> dict[str, Any]:
    """Run what is not done yet, and put the result document together."""
    trial = SMALL if request.budget == "small" else {}
    settings = load_config(TablesSettings, trial, request.overrides)
    results = run_jobs(plan(settings, request), settings.jobs, quiet=request.quiet)
    found = gather({name: result.value for name, result in results.items()}, settings.systems)
    systems = {name: summarize(cells) for name, cells in found.items()}
    derived = compare(systems)
    return study_document(
        request,
        data={
            "name": ", ".join(settings.data),
            **dict.fromkeys(("train", "validation", "test"), 0),
            "max_rows": settings.max_rows,
            "folds": settings.folds,
        },
        teacher={"name": "HistGradientBoostingClassifier"} if TEACHER in systems else {},
        systems=systems,
        seconds=sum(result.seconds for result in results.values()),
        verdict=verdict(derived, len(settings.data)),
        derived=derived,
        notes=_notes(settings, systems),
    )


def _notes(settings: TablesSettings, systems: Mapping[str, Any]) -> list[str]:
    notes = [
        f"{settings.folds}-fold cross-validation for each seed; accuracy.values are the seeds' means over folds and "
        "tables. Every system has its library's defaults, the mixtures of experts 8 experts, the tree of gates 8 "
        "leaves, as cart_same_leaves has. Nothing was tuned for a table; but the distilled mixture's defaults were "
        "chosen on rows held out from the training part of one fold, of five of these tables.",
        "All systems read the same features: imputed, standardised, one-hot. Times are of the first fold of each seed, "
        "on one thread, beside other processes: read the ratios, which were measured in turns.",
        "The time of distilling does not hold its teacher's; its size does not hold its teacher.",
    ]
    if settings.max_rows is not None:
        notes.append(f"Of a table with more than {settings.max_rows:,} rows, so many were drawn by each seed.")
    if not set(DESLIB) <= systems.keys():
        notes.append("DESlib's selections were left out.")
    return notes
