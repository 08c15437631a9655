"""The rivals by name: how each is built from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

__all__ = ["BUILDERS", "DESLIB", "SYSTEMS", "TEACHER"]

TEACHER = "boosting"
DESLIB = ("knora_e", "meta_des")
NUM_LEAVES = 8


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


BUILDERS: dict[str, Callable[[int], Any]] = {
    "logistic_regression": _logistic,
    "cart": _cart,
    "cart_same_leaves": _cart_same_leaves,
    "stacking": _stacking,
    TEACHER: _boosting,
}
# In the order of the tables.
SYSTEMS = (*BUILDERS, *DESLIB)
