"""Classic mixtures of experts, and the distilled mixture, in scikit-learn's shape."""

from moist.estimators.distilled import DistilledMixtureClassifier
from moist.estimators.hierarchical import (
    HierarchicalMixtureOfExpertsClassifier,
    HierarchicalMixtureOfExpertsRegressor,
)
from moist.estimators.mixture_density import MixtureDensityRegressor
from moist.estimators.mixture_of_experts import MixtureOfExpertsClassifier, MixtureOfExpertsRegressor

__all__ = [
    "DistilledMixtureClassifier",
    "HierarchicalMixtureOfExpertsClassifier",
    "HierarchicalMixtureOfExpertsRegressor",
    "MixtureDensityRegressor",
    "MixtureOfExpertsClassifier",
    "MixtureOfExpertsRegressor",
]
