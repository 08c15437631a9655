"""Every experiment that can be reproduced: its name, what it shows, and what runs it.

Nothing is imported but what Python brings, so that listing them takes no time.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RECIPES", "STUDIES", "Recipe", "Study", "experiments"]


@dataclass(frozen=True)
class Recipe:
    """One experiment of the main job's shape: several seeds of one configuration.

    Args:
        config: name of the shipped configuration.
        summary: what it shows, in a line.
        small: overrides of a short trial run.
        every_seed: the systems that are trained for every seed where the others, being long, are for the first alone;
            empty for all.
    """

    config: str
    summary: str
    small: tuple[str, ...] = ()
    every_seed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """One experiment of another shape: a function that returns its result document.

    Args:
        run: ``module:function``, called with a ``StudyRequest``; imported only when the study is run.
        summary: what it shows, in a line.
        seeds: how many seeds where the caller names no number.
    """

    run: str
    summary: str
    seeds: int = 3


COMPARED = ("mixture", "student_same_cost")
TRIAL = ("training.epochs=4", "controls.max_epochs=8", "controls.frontier=[0.5, 2]")

RECIPES: dict[str, Recipe] = {
    "digits": Recipe("digits", "scikit-learn's 8×8 digits: the whole chain in two minutes", TRIAL),
    "letter": Recipe("letter", "UCI letter recognition, 26 classes, against an ensemble of networks", TRIAL, COMPARED),
    "covtype20k": Recipe("covtype20k", "forest cover types, 20,000 rows", TRIAL, COMPARED),
    "optdigits": Recipe("optdigits", "optical digits, 10 classes from 64 pixel counts", TRIAL, COMPARED),
    "pendigits": Recipe("pendigits", "pen digits, 10 classes from 16 coordinates", TRIAL, COMPARED),
    "satimage": Recipe("satimage", "satellite images, 6 kinds of ground from 36 values", TRIAL, COMPARED),
    "dry_bean": Recipe("dry_bean", "dry beans, 7 varieties from 16 measures", TRIAL, COMPARED),
    "banking77": Recipe("banking77", "77 intents of bank customers, taught by a sentence encoder", TRIAL, COMPARED),
    "clinc150": Recipe(
        "clinc150", "150 intents of an assistant's users, taught by a sentence encoder", TRIAL, COMPARED
    ),
    "trec50": Recipe("trec50", "50 kinds of questions, taught by a sentence encoder", TRIAL, COMPARED),
    "cifar10": Recipe(
        "cifar10",
        "CIFAR-10 at about 3.2 MMAC, taught by the public ResNet-56",
        ("data.limit=2000", "training.epochs=2", "controls.max_epochs=3", "controls.frontier=[0.5, 2]"),
        every_seed=(*COMPARED, "generalist"),  # to which the mixture can defer
    ),
}


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
    "frontier-cifar10": Study(
        "moist.recipes.frontier:run_frontier", "CIFAR-10 with 2 to 32 small specialists behind a shared trunk"
    ),
    "deferring-cifar10": Study(
        "moist.recipes.deferring:run_deferring", "mixture, larger models, teacher: CIFAR-10 for a fifth of its cost"
    ),
    "hinton-ensemble": Study(
        "moist.recipes.hinton.ensemble:run", "ten networks on MNIST averaged, and distilled into one of their size"
    ),
    "hinton-ensemble-cifar10": Study(
        "moist.recipes.hinton.ensemble:run_cifar10", "the same with ten small residual networks on CIFAR-10"
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
    "hinton-soft-targets-cifar10": Study("moist.recipes.hinton.soft_targets:run_cifar10", "the same on 3% of CIFAR-10"),
}


def experiments() -> dict[str, str]:
    """Return the name and the summary of every experiment: the recipes of the main job, then the studies."""
    recipes = {name: recipe.summary for name, recipe in RECIPES.items()}
    return recipes | {name: study.summary for name, study in STUDIES.items()}
