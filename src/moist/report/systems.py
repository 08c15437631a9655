"""The compared systems: what each is called, what it is there for, and the part it plays in the comparison."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["SINGLE_STUDENTS", "System", "describe_system", "order_systems"]

Part = Literal["mixture", "single", "control", "bound", "teacher"]
SINGLE_STUDENTS = ("generalist", "student_same_cost", "student_same_total")


@dataclass(frozen=True)
class System:
    """What is known of a system by its name alone.

    Args:
        name: the name in ``metrics.json``.
        title: the name for readers.
        label: a short name for plots.
        explanation: one line on what it is.
        part: ``bound`` and ``teacher`` are not in the running for the best value: nobody can deploy the first, and the
            second is what is being replaced.
        colour: name of its colour in the theme.
        marker: its matplotlib marker.
    """

    name: str
    title: str
    label: str
    explanation: str
    part: Part
    colour: str
    marker: str


_KNOWN = (
    System(
        "mixture",
        "Mixture of specialists",
        "mixture",
        "A router picks the specialist (or the few) that answers: what this run was made for.",
        "mixture",
        "mixture",
        "o",
    ),
    System(
        "student_same_cost",
        "One student, same cost",
        "same cost",
        "One distilled student whose active cost is at least the mixture's, router included: the baseline to beat.",
        "single",
        "single",
        "s",
    ),
    System(
        "student_same_total",
        "One student, same size",
        "same size",
        "One distilled student with as many parameters as the whole mixture; every input pays for all of them.",
        "single",
        "single",
        "s",
    ),
    System(
        "generalist",
        "Generalist",
        "generalist",
        "A student of one specialist's shape, distilled on all the data.",
        "single",
        "single",
        "s",
    ),
    System(
        "mixture_deferring",
        "Mixture, deferring when unsure",
        "deferring",
        "The mixture hands inputs under a confidence threshold (set on validation) to the generalist or the teacher.",
        "control",
        "deferring",
        "P",
    ),
    System(
        "cascade",
        "Cascade",
        "cascade",
        "A single student first, a larger one where it is unsure; pair and threshold chosen on validation at the "
        "mixture's mean cost.",
        "control",
        "cascade",
        "^",
    ),
    System(
        "mixture_class_domains",
        "Mixture on class domains",
        "class domains",
        "The plain idea: each specialist trained apart on its own disjoint group of classes, behind a learned router.",
        "control",
        "classes",
        "D",
    ),
    System(
        "mixture_random_partition",
        "Mixture on a random partition",
        "random partition",
        "The same method and sizes on random domains: what is gained without any meaning in the domains.",
        "control",
        "random",
        "X",
    ),
    System(
        "mixture_all_specialists",
        "Mixture, all specialists run",
        "all specialists",
        "The soft mixture: what is lost by running one specialist only, at the price of running them all.",
        "bound",
        "oracle",
        "h",
    ),
    System(
        "mixture_oracle_router",
        "Mixture with an oracle router",
        "oracle router (bound)",
        "An upper bound that uses the true label to pick the specialist; it cannot be deployed.",
        "bound",
        "oracle",
        "v",
    ),
    System(
        "teacher",
        "Teacher",
        "teacher",
        "The large model that is being distilled.",
        "teacher",
        "teacher",
        "*",
    ),
)
_BY_NAME = {system.name: system for system in _KNOWN}


def describe_system(name: str) -> System:
    """Return what is known of a system, or of a piece of one, as in ``mixture_class_domains/specialist-0``.

    An unknown one gets its name in plain words and no explanation.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    whole, slash, piece = name.partition("/")
    if slash:
        of = describe_system(whole)
        piece = piece.replace("-", " ").replace("/", ", ")
        return replace(of, name=name, title=f"{of.title}: {piece}", label=f"{of.label}: {piece}", explanation="")
    words = name.replace("_", " ").replace("-", " ").strip() or name
    return System(name, words[:1].upper() + words[1:], words, "", "control", "other", "h")


def order_systems(names: Iterable[str]) -> list[str]:
    """Return names in the order to show them: the mixture, single students, controls, unknown ones, bound, teacher."""
    last = {"bound", "teacher"}
    known = list(_BY_NAME)

    def rank(name: str) -> tuple[bool, int, str]:
        return describe_system(name).part in last, known.index(name) if name in _BY_NAME else len(known), name

    return sorted(names, key=rank)
