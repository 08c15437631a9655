"""Steps of softmax regression: a worked maximum, agreement with scikit-learn, and no step for the worse."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from moist.estimators.softmax_regression import log_softmax, softmax_step


def objective(design, coef, target, penalty):
    return (target * log_softmax(design @ coef)).sum() - 0.5 * (penalty[:, None] * coef**2).sum()


def steps(design, target, penalty, count):
    coef = np.zeros((design.shape[1], target.shape[1]))
    for _ in range(count):
        coef = softmax_step(design, coef, target, penalty)
    return coef


def test_log_softmax_survives_large_scores():
    # log softmax (1000, 0) = (0, -1000) to the last digit.
    assert log_softmax(np.array([[1000.0, 0.0]])).tolist() == [[0.0, -1000.0]]


def test_with_a_constant_alone_the_odds_are_those_of_the_weights():
    # Weights 3 and 1 for two classes: the maximum has probabilities 3/4 and 1/4, so log-odds log 3.
    coef = steps(np.ones((1, 1)), np.array([[3.0, 1.0]]), np.zeros(1), 20)
    assert coef[0, 0] - coef[0, 1] == pytest.approx(np.log(3), abs=1e-6)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_repeated_steps_reach_scikit_learns_maximum(num_classes):
    random = np.random.default_rng(0)
    rows = random.normal(size=(200, 3))
    labels = (rows @ random.normal(size=(3, num_classes)) + random.gumbel(size=(200, num_classes))).argmax(axis=1)
    weight = random.uniform(0.5, 2, size=200)
    design = np.column_stack([np.ones(200), rows])
    coef = steps(design, np.eye(num_classes)[labels] * weight[:, None], np.array([0.0, 2, 2, 2]), 30)
    # For two classes scikit-learn has one column u, here there are u / 2 and -u / 2: half the penalty at the same λ.
    strength = 0.5 if num_classes == 3 else 1.0
    expected = LogisticRegression(C=strength, tol=1e-10, max_iter=1000).fit(rows, labels, sample_weight=weight)
    assert np.exp(log_softmax(design @ coef)) == pytest.approx(expected.predict_proba(rows), abs=1e-4)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_a_step_is_never_for_the_worse(seed, num_classes):
    random = np.random.default_rng(seed)
    # Far from the maximum and nearly separable: where a whole Newton step overshoots.
    design, coef = random.normal(size=(30, 4)), 20 * random.normal(size=(4, num_classes))
    target, penalty = random.uniform(size=(30, num_classes)) ** 8, np.full(4, 1e-6)
    values = [objective(design, coef, target, penalty)]
    for _ in range(15):
        coef = softmax_step(design, coef, target, penalty)
        values.append(objective(design, coef, target, penalty))
    assert (np.diff(values) >= -1e-12 * np.abs(values[0])).all()
    assert values[-1] > values[0]
