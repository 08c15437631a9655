"""Find the shape of a mixture for a given cost per input, by a short search on the validation part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from moist.mixture import mixture_cost
from moist.progress import say
from moist.recipes.measure import combine
from moist.recipes.plan import make_plan
from moist.recipes.results import short_number
from moist.recipes.settings import BudgetSettings, DistillSettings
from moist.recipes.train import new_mixture
from moist.recipes.workspace import Workspace
from moist.training import run_jobs
from moist.types import UserError

__all__ = ["check_budget", "choose_shape"]

DOMAINS = (2, 4, 8, 16, 32)
TAILS = (1.0, 1.5)  # width of a specialist's own layers over the shared trunk's
KEPT = 3  # of so many candidates one goes on to the next round, with so many times the epochs
WORTH_TRYING = 0.7  # of the budget; a shape whose next step of width is too dear may leave much of it unused
LARGEST_WIDTH = 4096


@dataclass(frozen=True)
class _Kind:
    """What a candidate has beside its width."""

    num_domains: int
    trunk_stages: int
    tail: float


@dataclass(frozen=True)
class _Shape:
    settings: DistillSettings
    macs: float

    @property
    def name(self) -> str:
        student, mixture = self.settings.student, self.settings.mixture
        tail = "" if student.tail_width is None else f"-{student.tail_width}"
        return f"K{mixture.num_domains}-trunk{mixture.trunk_stages}-w{student.width}{tail}"

    def entry(self, accuracy: float) -> dict[str, Any]:
        """Return what the result file keeps of a candidate."""
        return {"name": self.name, "active_macs": self.macs, "validation_accuracy": accuracy}


def choose_shape(
    space: Workspace, workspace_folder: Path, out: Path, *, quiet: bool = False
) -> tuple[Workspace, dict[str, Any] | None]:
    """Choose number of domains, trunk and widths for ``budget.macs``; without it, leave them as they are.

    Every candidate is the widest of its kind within the budget. All are trained for a few epochs; the best third goes
    on with three times as many, until one is left. The measure is accuracy on the validation part.

    Args:
        space: the prepared run, which :func:`check_budget` has passed.
        workspace_folder: where any process can open it.
        out: folder of the run; the trials go to ``search/``.
        quiet: show no progress.

    Returns:
        The run with the chosen shape and no budget, and what was tried, for the result file.

    Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization"
    (arXiv 1502.07943): successive halving, here by thirds.
    """
    settings = space.settings
    if settings.budget.macs is None:
        return space, None
    shapes = _candidates(space)
    rounds: list[list[dict[str, Any]]] = []
    for epochs in _schedule(len(shapes), settings.training.epochs):
        accuracy = _try(space, workspace_folder, out / "search" / f"epochs-{epochs}", shapes, epochs, quiet)
        ranked = sorted(shapes, key=lambda shape: (-accuracy[shape.name], shape.macs))
        rounds.append([{**shape.entry(accuracy[shape.name]), "epochs": epochs} for shape in ranked])
        shapes = ranked[: ceil(len(ranked) / KEPT)]
    chosen = shapes[0]
    why = _reason(chosen, rounds, settings.budget.macs)
    if not quiet:
        say(why)
    tried = {"budget_macs": settings.budget.macs, "chosen": chosen.name, "why": why, "rounds": rounds}
    return replace(space, settings=chosen.settings), tried


def check_budget(space: Workspace) -> None:
    """Check that :func:`choose_shape` can find a shape; it needs nothing that the teacher says.

    Raises:
        UserError: the method is not ``joint``, there is nothing to validate on, or no mixture is that cheap.
    """
    budget = space.settings.budget.macs
    if budget is None:
        return
    method = space.settings.mixture.method
    if method != "joint":
        raise UserError(
            f"budget.macs needs mixture.method=joint, got {method!r}; set it, or choose the widths yourself"
        )
    if space.settings.mixture.exit is not None:
        raise UserError("budget.macs chooses among specialists of one size, got mixture.exit; leave out one of the two")
    if space.settings.student.family == "torch":
        raise UserError("budget.macs needs a student family with a width, got 'torch'; choose another, or no budget")
    if space.splits.validation is None or space.splits.validation.target is None:
        raise UserError(
            "budget.macs needs a labelled validation part to choose on, got none; set data.validation above 0, give "
            "labels, or choose the widths yourself"
        )
    cheapest = min(_shape(space, kind, 1).macs for kind in _kinds(space))
    if cheapest > budget:
        raise UserError(
            f"budget.macs must pay for a mixture, got {budget:g}; the cheapest of family "
            f"{space.settings.student.family!r} costs {cheapest:.4g} per input: raise it or change student.family"
        )


def _schedule(num_candidates: int, epochs: int) -> list[int]:
    """Return the epochs of every round, the last a third of a whole training."""
    rounds = 1
    while num_candidates > KEPT**rounds:
        rounds += 1
    return [max(1, round(epochs / KEPT**left)) for left in range(rounds, 0, -1)]


def _candidates(space: Workspace) -> list[_Shape]:
    """Return the widest mixture within the budget of every kind, less those that leave much of it unused."""
    budget = float(space.settings.budget.macs or 0)
    widest = {kind: _widest(space, kind, budget) for kind in _kinds(space)}
    found = [shape for shape in widest.values() if shape is not None]
    most = max(shape.macs for shape in found)
    return [shape for shape in found if shape.macs >= min(WORTH_TRYING * budget, most)]


def _kinds(space: Workspace) -> list[_Kind]:
    """Return every number of domains with every trunk and tail that the family allows."""
    student, mixture = space.settings.student, space.settings.mixture
    convolutional = student.family in ("resnet", "dscnn")
    trunks = {mixture.trunk_stages, *((2, 3) if convolutional and mixture.router.reads == "trunk" else ())}
    return [
        _Kind(num_domains, trunk, tail)
        for num_domains in DOMAINS
        if 2 * num_domains <= len(space.splits.train)
        for trunk in sorted(trunks)
        for tail in (TAILS if convolutional and 0 < trunk <= student.num_stages - 2 else TAILS[:1])
    ]


def _widest(space: Workspace, kind: _Kind, budget: float) -> _Shape | None:
    """Return the widest mixture of a kind that costs no more than the budget; None where even the narrowest does."""
    low, high = 0, 1
    while high <= LARGEST_WIDTH and _shape(space, kind, high).macs <= budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _shape(space, kind, middle).macs <= budget else (low, middle)
    return _shape(space, kind, low) if low else None


def _shape(space: Workspace, kind: _Kind, steps: int) -> _Shape:
    """Return the mixture of a kind and its cost where every domain serves an equal share."""
    settings = space.settings
    width = steps * (settings.student.heads if settings.student.family == "transformer" else 1)
    tail = {"tail_width": round(kind.tail * width), "tail_from": kind.trunk_stages}
    student = settings.student.model_copy(
        update={"width": width, **(tail if kind.tail != 1 else dict.fromkeys(tail))},
    )
    mixture = settings.mixture.model_copy(
        update={"num_domains": kind.num_domains, "trunk_stages": kind.trunk_stages, "active": None}
    )
    shaped = settings.model_copy(update={"student": student, "mixture": mixture, "budget": BudgetSettings()})
    with torch.random.fork_rng(devices=[]):
        built = new_mixture(replace(space, settings=shaped), mixture).deploy()
    active, _ = mixture_cost(built, space.example(64), [1 / kind.num_domains] * kind.num_domains)
    return _Shape(shaped, active.macs)


def _try(
    space: Workspace, workspace_folder: Path, out: Path, shapes: Sequence[_Shape], epochs: int, quiet: bool
) -> dict[str, float]:
    """Train every shape for so many epochs and return its accuracy on the validation part, by name."""
    jobs, folders = [], {}
    for shape in shapes:
        training = shape.settings.training.model_copy(update={"epochs": epochs})
        alone = shape.settings.controls.model_copy(update={"enabled": False})
        settings = shape.settings.model_copy(update={"training": training, "controls": alone})
        plan = make_plan(replace(space, settings=settings), workspace_folder, out / shape.name, settings.seed)
        (job,) = plan.restricted_to(("mixture",)).jobs
        jobs.append(replace(job, name=shape.name))
        folders[shape.name] = job.folder
    run_jobs(jobs, space.settings.jobs, quiet=quiet)
    return {name: _accuracy(space, folder) for name, folder in folders.items()}


def _accuracy(space: Workspace, folder: Path) -> float:
    outputs = load_file(folder / "validation.safetensors")
    probabilities, _ = combine(outputs["scores"], outputs["logits"], space.settings.inference.top_k)
    target = space.splits.validation.target
    return float((probabilities.argmax(dim=1).numpy() == target).mean())


def _reason(chosen: _Shape, rounds: Sequence[Sequence[Mapping[str, Any]]], budget: float) -> str:
    student, mixture = chosen.settings.student, chosen.settings.mixture
    tail = "" if student.tail_width is None else f" ({student.tail_width} in the specialists' own layers)"
    last = rounds[-1]
    text = (
        f"For {short_number(budget)} MACs per input the search chose {mixture.num_domains} domains, a shared trunk of "
        f"{mixture.trunk_stages} stages and width {student.width}{tail}, {short_number(chosen.macs)} MACs: of "
        f"{len(rounds[0])} shapes it came first after {last[0]['epochs']} epochs with "
        f"{last[0]['validation_accuracy']:.1%} on the validation part"
    )
    if len(last) > 1:
        text += f", before {last[1]['name']} with {last[1]['validation_accuracy']:.1%}"
    return text + "."
