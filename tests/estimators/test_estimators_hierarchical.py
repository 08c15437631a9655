"""Trees of gates as estimators: one level is the flat mixture; text and plot show every gate and expert."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.datasets import load_iris

from moist.estimators import (
    HierarchicalMixtureOfExpertsClassifier,
    HierarchicalMixtureOfExpertsRegressor,
    MixtureOfExpertsClassifier,
)
from moist.types import UserError

mpl.use("agg")
IRIS = load_iris()


@pytest.fixture(scope="module")
def tree():
    return HierarchicalMixtureOfExpertsClassifier(2, random_state=0).fit(IRIS.data, IRIS.target)


def test_one_level_is_the_flat_mixture():
    flat = MixtureOfExpertsClassifier(3, max_iter=10, random_state=0).fit(IRIS.data, IRIS.target)
    tree = HierarchicalMixtureOfExpertsClassifier(1, 3, max_iter=10, random_state=0).fit(IRIS.data, IRIS.target)
    assert tree.predict_proba(IRIS.data) == pytest.approx(flat.predict_proba(IRIS.data))
    assert tree.gate_coef_[0] == pytest.approx(flat.gate_coef_)


def test_shares_are_mean_responsibilities(tree):
    assert tree.shares_ == pytest.approx(tree.responsibilities(IRIS.data, IRIS.target).mean(axis=0), abs=1e-9)


def test_the_text_has_a_line_for_every_child(tree):
    lines = tree.export_text(feature_names=IRIS.feature_names, class_names=IRIS.target_names).splitlines()
    # The root, two gates below it, two experts below each.
    assert lines[0] == "gate"
    assert [line.count("|--- gate") for line in lines[1:]] == [1, 0, 0, 1, 0, 0]
    assert [line.split("expert ")[1][0] for line in lines if "expert" in line] == list("0123")
    assert any("petal" in line for line in lines)
    assert any("setosa" in line for line in lines)


def test_the_plot_has_a_box_for_every_gate_and_expert(tree):
    boxes = tree.plot(ax=Figure().add_subplot())
    assert len(boxes) == 7
    assert sum("expert" in box.get_text() for box in boxes) == 4


def test_names_must_be_as_many_as_features(tree):
    with pytest.raises(UserError, match="must name 4 features, got 2"):
        tree.export_text(feature_names=["a", "b"])


def test_a_tree_of_regressions_tells_the_mean_of_each_leaf():
    X = np.linspace(-1, 1, 100)[:, None]
    tree = HierarchicalMixtureOfExpertsRegressor(1, 2, random_state=0).fit(X, np.where(X[:, 0] < 0, -5.0, 5.0))
    text = tree.export_text(decimals=0)
    assert "mean -5" in text
    assert "mean 5" in text


def test_a_gate_needs_two_children():
    with pytest.raises(UserError, match="branching must be a whole number of at least 2, got 1"):
        HierarchicalMixtureOfExpertsClassifier(2, 1).fit(IRIS.data, IRIS.target)
