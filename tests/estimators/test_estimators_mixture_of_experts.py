"""The flat mixtures: what they recover, what they publish, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from moist.estimators import MixtureOfExpertsClassifier, MixtureOfExpertsRegressor
from moist.estimators.softmax_regression import log_softmax
from moist.types import UserError

BENT = np.linspace(-1, 1, 201)[:, None]
MOONS, SIDES = make_moons(300, noise=0.1, random_state=0)


@pytest.fixture(scope="module")
def bent():
    return MixtureOfExpertsRegressor(2, alpha=0, random_state=0).fit(BENT, np.abs(BENT[:, 0]))


@pytest.fixture(scope="module")
def moons():
    return MixtureOfExpertsClassifier(3, random_state=0).fit(MOONS, SIDES)


def test_two_lines_are_found(bent):
    # y = |x| is one line on either side of 0.
    assert sorted(bent.coef_[:, 0]) == pytest.approx([-1, 1], abs=0.02)
    assert bent.intercept_ == pytest.approx([0, 0], abs=0.02)
    assert bent.algorithm_ == "EM"


def test_the_mean_and_deviation_are_the_mixtures(bent):
    mean, deviation = bent.predict([[0.5]], return_std=True)
    gate, means = bent.gate_proba([[0.5]])[0], bent.coef_[:, 0] * 0.5 + bent.intercept_
    assert mean[0] == pytest.approx(gate @ means)
    assert deviation[0] ** 2 == pytest.approx(gate @ (bent.variances_ + means**2) - mean[0] ** 2, abs=1e-9)


def test_probabilities_follow_from_the_published_coefficients(moons):
    gate = np.exp(log_softmax(MOONS @ moons.gate_coef_.T + moons.gate_intercept_))
    scores = np.einsum("nd,kcd->nkc", MOONS, moons.coef_) + moons.intercept_
    expected = np.einsum("nk,nkc->nc", gate, np.exp(log_softmax(scores)))
    assert moons.gate_proba(MOONS) == pytest.approx(gate)
    assert moons.predict_proba(MOONS) == pytest.approx(expected)


def test_responsibilities_are_shares_of_what_is_explained(moons):
    share = moons.responsibilities(MOONS, SIDES)
    assert share.sum(axis=1) == pytest.approx(np.ones(len(MOONS)))
    scores = np.einsum("nd,kcd->nkc", MOONS, moons.coef_) + moons.intercept_
    said = np.exp(log_softmax(scores))[np.arange(len(MOONS)), :, SIDES]
    joint = moons.gate_proba(MOONS) * said
    assert share == pytest.approx(joint / joint.sum(axis=1, keepdims=True))


def test_responsibilities_of_a_regressor_tell_the_sides(bent):
    share = bent.responsibilities([[-0.9], [0.9]], [0.9, 0.9])
    assert share.sum(axis=1) == pytest.approx([1, 1])
    assert share[0].argmax() != share[1].argmax()


def test_the_best_of_several_starts_is_kept():
    bounds = [
        MixtureOfExpertsClassifier(3, init="random", n_init=n, max_iter=15, random_state=3)
        .fit(MOONS, SIDES)
        .lower_bound_
        for n in (1, 4)
    ]
    assert bounds[1] >= bounds[0]


@pytest.mark.parametrize("estimator", [None, DecisionTreeClassifier(max_depth=1, random_state=0)])
def test_threads_find_the_same_as_one(estimator):
    def fit(n_jobs):
        mixture = MixtureOfExpertsClassifier(3, estimator=estimator, n_jobs=n_jobs, max_iter=10, random_state=0)
        return mixture.fit(MOONS, SIDES)

    alone, together = fit(None), fit(3)
    assert np.array_equal(alone.lower_bounds_, together.lower_bounds_)
    assert np.array_equal(alone.predict_proba(MOONS), together.predict_proba(MOONS))


def test_any_expert_with_weights_will_do_and_it_says_so():
    stumps = MixtureOfExpertsClassifier(
        3, estimator=DecisionTreeClassifier(max_depth=1), max_iter=10, random_state=0
    ).fit(MOONS, SIDES)
    assert stumps.algorithm_ == "generalized EM"
    assert len(stumps.experts_) == 3
    assert not hasattr(stumps, "coef_")
    assert stumps.score(MOONS, SIDES) > DecisionTreeClassifier(max_depth=1).fit(MOONS, SIDES).score(MOONS, SIDES)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_experts": 0}, "num_experts must be a whole number of at least 1, got 0"),
        ({"estimator": KNeighborsClassifier()}, "must take sample_weight"),
        ({"init": "zeros"}, "init must be one of kmeans, random, got 'zeros'"),
        ({"alpha": -1}, "alpha must be a number of at least 0"),
    ],
)
def test_what_cannot_work_is_refused(parameters, message):
    with pytest.raises(UserError, match=message):
        MixtureOfExpertsClassifier(**parameters).fit(MOONS, SIDES)


def test_labels_never_seen_have_no_responsibilities(moons):
    with pytest.raises(UserError, match="among the classes of training"):
        moons.responsibilities(MOONS[:2], [0, 7])
