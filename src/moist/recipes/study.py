"""What studies, experiments of another shape than the main job's, are asked for and return."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from moist.recipes.results import SCHEMA, machine

__all__ = ["Budget", "StudyRequest", "study_document"]

Budget = Literal["small", "full"]


@dataclass(frozen=True)
class StudyRequest:
    """What a study is asked for.

    Args:
        name: of the study; ``NAME-small`` on a small budget.
        command: what makes the result again.
        budget: ``small`` is a trial of the machinery in minutes, whose numbers mean nothing.
        seeds: how many, from 0.
        out: folder of the study's own, for jobs, checkpoints and models.
        results_dir: where result files are, those of other experiments too.
        overrides: ``a.b=c`` changes of the study's settings.
        quiet: show no progress.
    """

    name: str
    command: str
    budget: Budget
    seeds: int
    out: Path
    results_dir: Path = Path("results")
    overrides: tuple[str, ...] = ()
    quiet: bool = False


def study_document(
    request: StudyRequest,
    *,
    data: Mapping[str, Any],
    teacher: Mapping[str, Any],
    systems: Mapping[str, Mapping[str, Any]],
    seconds: float,
    verdict: str,
    derived: Mapping[str, Any] | None = None,
    published: Mapping[str, Any] | None = None,
    frontier: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a result document of the schema that every recipe shares, with date, versions and machine filled in.

    Args:
        request: what was asked.
        data: ``name``, ``train``, ``validation``, ``test`` (numbers of examples).
        teacher: what is known of the teacher; empty where there is none.
        systems: name to ``accuracy`` (see :func:`moist.recipes.results.spread`) and costs.
        seconds: how long it all took.
        verdict: what was found, in a sentence, whichever way it went.
        derived: further figures.
        published: the paper's own figures.
        frontier: single models by cost, each with a ``name``.
        notes: what a reader must know before believing the numbers.
    """
    return {
        "schema": SCHEMA,
        "name": request.name,
        "command": request.command,
        "date": datetime.date.today().isoformat(),
        "data": dict(data),
        "teacher": dict(teacher),
        "seeds": list(range(request.seeds)),
        "versions": {"moist": version("moist"), "python": platform.python_version(), "torch": torch.__version__},
        "machine": machine(),
        "seconds": round(seconds, 1),
        "systems": dict(systems),
        "frontier": list(frontier),
        "derived": dict(derived or {}),
        "published": dict(published or {}),
        "notes": list(notes),
        "verdict": verdict,
    }
