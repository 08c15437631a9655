"""The systems by name, every one with its library's defaults, and how each is built from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from moist.estimators import (
    DistilledMixtureClassifier,
    HierarchicalMixtureOfExpertsClassifier,
    MixtureOfExpertsClassifier,
)

__all__ = ["BUILDERS", "DESLIB", "DISTILLED", "SYSTEMS", "TEACHER", "build_distilled"]

TEACHER = "boosting"
DISTILLED = "distilled_mixture"
DESLIB = ("knora_e", "meta_des")
NUM_EXPERTS = NUM_LEAVES = 8
DEPTH = 3  # of two branches each: as many experts as leaves


def _logistic(_: int) -> LogisticRegression:
    return LogisticRegression(max_iter=1000)


def _cart(seed: int) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(random_state=seed)


def _cart_same_leaves(seed: int) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(max_leaf_nodes=NUM_LEAVES, random_state=seed)


def _stacking(seed: int) -> StackingClassifier:
    members = [("logistic", _logistic(seed)), ("cart", _cart(seed)), ("neighbours", KNeighborsClassifier())]
    return StackingClassifier(members, final_estimator=_logistic(seed), cv=5)


def _boosting(seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(random_state=seed)


def _mixture(seed: int) -> MixtureOfExpertsClassifier:
    return MixtureOfExpertsClassifier(NUM_EXPERTS, random_state=seed)


def _hierarchy(seed: int) -> HierarchicalMixtureOfExpertsClassifier:
    return HierarchicalMixtureOfExpertsClassifier(DEPTH, random_state=seed)


def build_distilled(teacher: Any, seed: int) -> DistilledMixtureClassifier:
    """Return the distilled mixture with its defaults, to be taught by a fitted teacher."""
    return DistilledMixtureClassifier(teacher, random_state=seed)


BUILDERS: dict[str, Callable[[int], Any]] = {
    "logistic_regression": _logistic,
    "cart": _cart,
    "cart_same_leaves": _cart_same_leaves,
    "stacking": _stacking,
    TEACHER: _boosting,
    "mixture_of_experts": _mixture,
    "hierarchical_mixture": _hierarchy,
}
# In the order of the tables.
SYSTEMS = (*BUILDERS, DISTILLED, *DESLIB)
