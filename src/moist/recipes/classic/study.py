"""The study ``classic-tables``: every system on every fold of every table, then their averages and the claims."""

from __future__ import annotations

from itertools import product
from typing import Any

from pydantic import Field, field_validator

from moist.config import Settings, load_config, nearest
from moist.recipes.classic.systems import DESLIB, SYSTEMS
from moist.recipes.classic.tables import TABLES
from moist.recipes.study import StudyRequest
from moist.training import Job, JobsSettings, run_jobs

__all__ = ["TablesSettings", "plan", "run"]

MEASURE = "moist.recipes.classic.measure"


class TablesSettings(Settings):
    """What of the study to run."""

    data: tuple[str, ...] = Field(TABLES, min_length=1, description="the tables")
    systems: tuple[str, ...] = Field(SYSTEMS, min_length=1, description="the systems")
    folds: int = Field(5, ge=2, description="folds of each seed")
    max_rows: int | None = Field(2000, ge=100, description="rows drawn of each larger table; none: whole tables")
    jobs: JobsSettings = JobsSettings()

    @field_validator("data", "systems")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = {*TABLES, *SYSTEMS}
        for name in names:
            if name not in known:
                raise ValueError(f"no table or system is called {name!r}. {nearest(name, known)}")
        return names


def plan(settings: TablesSettings, request: StudyRequest) -> list[Job]:
    """Return the jobs in the order to start them: whole seeds first; DESlib's, which take longest, last in each."""
    jobs = []
    plain = [name for name in settings.systems if name not in DESLIB]
    for seed in range(request.seeds):
        common = {"seed": seed, "folds": settings.folds, "max_rows": settings.max_rows}
        for data, fold, system in product(settings.data, range(settings.folds), plain):
            payload = {**common, "data": data, "fold": fold, "system": system}
            jobs.append(_job(request, f"{data}/seed-{seed}/fold-{fold}/{system}", "measure_system", payload))
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
    settings = load_config(TablesSettings, {}, request.overrides)
    results = run_jobs(plan(settings, request), settings.jobs, quiet=request.quiet)
    return {"results": len(results)}
