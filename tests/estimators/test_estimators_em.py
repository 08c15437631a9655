"""EM: the E step by hand, and a log-likelihood that never falls, whatever the experts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from moist.estimators import (
    HierarchicalMixtureOfExpertsClassifier,
    HierarchicalMixtureOfExpertsRegressor,
    MixtureOfExpertsClassifier,
    MixtureOfExpertsRegressor,
)
from moist.estimators.em import expect
from moist.estimators.experts import LogisticExperts
from moist.estimators.gate import TreeGate
from moist.estimators.sample import Sample, Scaling

CLASSIFIERS = [
    MixtureOfExpertsClassifier(3, tol=0, max_iter=30, random_state=0),
    MixtureOfExpertsClassifier(3, init="random", alpha=0.01, tol=0, max_iter=30, random_state=1),
    HierarchicalMixtureOfExpertsClassifier(2, 2, tol=0, max_iter=30, random_state=0),
    MixtureOfExpertsClassifier(
        3, estimator=DecisionTreeClassifier(max_depth=2, random_state=0), tol=0, max_iter=8, random_state=0
    ),
]
REGRESSORS = [
    MixtureOfExpertsRegressor(3, tol=0, max_iter=30, random_state=0),
    HierarchicalMixtureOfExpertsRegressor(1, 3, alpha=0.1, tol=0, max_iter=30, random_state=0),
    MixtureOfExpertsRegressor(
        3, estimator=DecisionTreeRegressor(max_depth=2, random_state=0), tol=0, max_iter=8, random_state=0
    ),
]


def test_responsibilities_by_hand():
    # Gates 1/2 and 1/2; the experts give the label 0.9 and 0.3: h = 0.45 and 0.15 over 0.6, and log-likelihood log 0.6.
    sample = Sample(np.ones((1, 1)), np.ones((1, 1)), np.array([0]), np.ones(1))
    coef = np.log(np.array([[[0.9, 0.1]], [[0.3, 0.7]]]))
    share, likelihood = expect(sample, TreeGate.start(1, 2, np.zeros(1)), LogisticExperts(coef, np.zeros(1)))
    assert share[0] == pytest.approx([0.75, 0.25])
    assert likelihood[0] == pytest.approx(np.log(0.6))


@pytest.mark.parametrize("mixture", CLASSIFIERS, ids=str)
def test_the_log_likelihood_of_a_classifier_never_falls(mixture):
    X, y = load_wine(return_X_y=True)
    bounds = mixture.fit(X, y).lower_bounds_
    assert len(bounds) > 1
    assert (np.diff(bounds) >= -1e-10).all()


@pytest.mark.parametrize("mixture", REGRESSORS, ids=str)
def test_the_log_likelihood_of_a_regressor_never_falls(mixture):
    X, y = load_diabetes(return_X_y=True)
    bounds = mixture.fit(X, y).lower_bounds_
    assert len(bounds) > 1
    assert (np.diff(bounds) >= -1e-10).all()


def test_one_expert_is_logistic_regression():
    X, y = load_wine(return_X_y=True)
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    one = MixtureOfExpertsClassifier(1, tol=1e-12, max_iter=200).fit(X, y)
    plain = LogisticRegression(tol=1e-10, max_iter=1000).fit(standard, y)
    assert one.predict_proba(X) == pytest.approx(plain.predict_proba(standard), abs=1e-3)


def test_scaling_is_weighted_and_leaves_constants_alone():
    # Values 0 and 3 with weights 2 and 1: mean 1, variance (2 · 1 + 4) / 3 = 2.
    scaling = Scaling.of(np.array([[0.0, 7.0], [3.0, 7.0]]), np.array([2.0, 1.0]))
    assert scaling.mean_D == pytest.approx([1, 7])
    assert scaling.scale_D == pytest.approx([np.sqrt(2), 1])
    slopes, constant = scaling.original(np.array([5.0, 2.0, 1.0]))
    # 5 + 2 (x - 1) / √2 + (z - 7)
    assert slopes == pytest.approx([np.sqrt(2), 1])
    assert constant == pytest.approx(5 - np.sqrt(2) - 7)
