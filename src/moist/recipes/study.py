"""Studies: experiments of another shape than the main job's, each a function that returns its result document."""

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

__all__ = ["STUDIES", "Budget", "Study", "StudyRequest", "study_document"]

Budget = Literal["small", "full"]


@dataclass(frozen=True)
class Study:
    """One experiment by name.

    Args:
        run: ``module:function``, called with a :class:`StudyRequest`; imported only when the study is run.
        summary: what it shows, in a line.
        seeds: how many seeds where the caller names no number.
    """

    run: str
    summary: str
    seeds: int = 3


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


STUDIES: dict[str, Study] = {
    "classic-density": Study(
        "moist.recipes.classic.density:run", "mixture density networks on the inverse sinusoid and on diabetes"
    ),
    "classic-tables": Study(
        "moist.recipes.classic.study:run",
        "classic mixtures of experts and a distilled one beside scikit-learn and DESlib",
    ),
    "mode-tabular": Study(
        "moist.recipes.mutual.study:run", "experts that learn from each other (MoDE) beside plain ones, on seven tables"
    ),
    "mode-text": Study("moist.recipes.mutual.study:run", "the same on trec50 and banking77", seeds=5),
    "mode-vision": Study("moist.recipes.mutual.study:run", "the same on MNIST and CIFAR-10", seeds=5),
    "ones-text": Study("moist.recipes.ones.study:run", "experts become one dense student, on texts (OneS)"),
    "ones-vision": Study("moist.recipes.ones.study:run", "the same on CIFAR-10, experts grown from a dense network"),
    "hinton-specialists": Study(
        "moist.recipes.hinton.specialists:run", "a generalist that calls specialists of what it confuses, on texts"
    ),
    "frontier-letter": Study("moist.recipes.frontier:run_frontier", "letter with 2 to 32 specialists, beside singles"),
    "hinton-ensemble": Study(
        "moist.recipes.hinton.ensemble:run", "ten networks on MNIST averaged, and distilled into one of their size"
    ),
    "hinton-mnist": Study(
        "moist.recipes.hinton.mnist:run", "Hinton's MNIST table: a regularised teacher distilled into a plain network"
    ),
    "hinton-missing-digit": Study(
        "moist.recipes.hinton.missing_digit:run", "students that never saw a 3, or anything but 7s and 8s"
    ),
    "hinton-soft-targets": Study(
        "moist.recipes.hinton.soft_targets:run", "3% of MNIST from labels and from soft targets, to the end"
    ),
}


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
