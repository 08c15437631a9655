"""Mixtures of specialists: a router, whole specialists behind it, and the folder they live in."""

from moist.mixture.agreement import agree
from moist.mixture.build import build_mixture, mixture_cost
from moist.mixture.build_ensemble import build_ensemble, classes_each, new_class_specialist, start_from_generalist
from moist.mixture.bundle import inspect_bundle, load_bundle, save_bundle
from moist.mixture.dustbins import fit_dustbins
from moist.mixture.early_exit import EarlyExitGate, ExitSettings, calibrate_exit, expected_load
from moist.mixture.ensemble import CoverageGate, SpecialistEnsemble
from moist.mixture.gates import build_gate, start_gate_from_centres, start_gate_from_head
from moist.mixture.lazy import LazySpecialists
from moist.mixture.levelling import add_to_scores, level_shares
from moist.mixture.model import DeferSettings, InferenceSettings, MixtureOfSpecialists, Prediction, Specialists
from moist.mixture.own_classes import SpreadClasses, build_tail, check_groups, own_classes
from moist.mixture.pooling import pool_features
from moist.mixture.settings import MixtureSettings, RouterSettings
from moist.mixture.trainable import TrainableMixture

__all__ = [
    "CoverageGate",
    "DeferSettings",
    "EarlyExitGate",
    "ExitSettings",
    "InferenceSettings",
    "LazySpecialists",
    "MixtureOfSpecialists",
    "MixtureSettings",
    "Prediction",
    "RouterSettings",
    "SpecialistEnsemble",
    "Specialists",
    "SpreadClasses",
    "TrainableMixture",
    "add_to_scores",
    "agree",
    "build_ensemble",
    "build_gate",
    "build_mixture",
    "build_tail",
    "calibrate_exit",
    "check_groups",
    "classes_each",
    "expected_load",
    "fit_dustbins",
    "inspect_bundle",
    "level_shares",
    "load_bundle",
    "mixture_cost",
    "new_class_specialist",
    "own_classes",
    "pool_features",
    "save_bundle",
    "start_from_generalist",
    "start_gate_from_centres",
    "start_gate_from_head",
]
