"""scikit-learn's own checks, all of them."""

from __future__ import annotations

from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from moist.estimators import (
    DistilledMixtureClassifier,
    HierarchicalMixtureOfExpertsClassifier,
    HierarchicalMixtureOfExpertsRegressor,
    MixtureDensityRegressor,
    MixtureOfExpertsClassifier,
    MixtureOfExpertsRegressor,
)

ESTIMATORS = [
    MixtureOfExpertsClassifier(num_experts=2, max_iter=20),
    MixtureOfExpertsClassifier(num_experts=3, max_iter=20, init="random"),
    MixtureOfExpertsClassifier(num_experts=2, max_iter=5, estimator=GaussianNB()),
    MixtureOfExpertsRegressor(num_experts=2, max_iter=20),
    MixtureOfExpertsRegressor(num_experts=2, max_iter=5, estimator=DecisionTreeRegressor(max_depth=3, random_state=0)),
    HierarchicalMixtureOfExpertsClassifier(max_iter=10),
    HierarchicalMixtureOfExpertsRegressor(max_iter=10),
    MixtureDensityRegressor(num_components=2, num_steps=20),
    DistilledMixtureClassifier(GaussianNB(), num_specialists=2, width=8, num_steps=60, num_synthetic=1, batch_size=32),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_checks(estimator, check):
    check(estimator)
