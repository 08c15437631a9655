"""Mixtures of specialists: a router, whole specialists behind it, and the folder they live in."""

from moist.mixture.build import (
    InferenceSettings,
    MixtureSettings,
    RouterSettings,
    TrainableMixture,
    build_gate,
    build_mixture,
    mixture_cost,
)
from moist.mixture.model import MixtureOfSpecialists, Prediction

__all__ = [
    "InferenceSettings",
    "MixtureOfSpecialists",
    "MixtureSettings",
    "Prediction",
    "RouterSettings",
    "TrainableMixture",
    "build_gate",
    "build_mixture",
    "mixture_cost",
]
