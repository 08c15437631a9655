"""Measure: accuracy and calibration, cost, latency, routing quality, and comparisons between systems."""

from moist.evaluation.chain import Chain, ChainAnswers, Link, fit_chain
from moist.evaluation.comparison import gap_recovered, interpolate_macs_at_accuracy
from moist.evaluation.cost import count_active_params, count_cost
from moist.evaluation.deferral import choose_threshold_for_cost
from moist.evaluation.latency import measure_latency
from moist.evaluation.probing import ExpertProbe, probe_experts
from moist.evaluation.routing_quality import routing_report
from moist.evaluation.scores import CalibrationCurve, calibration_curve, evaluate

__all__ = [
    "CalibrationCurve",
    "Chain",
    "ChainAnswers",
    "ExpertProbe",
    "Link",
    "calibration_curve",
    "choose_threshold_for_cost",
    "count_active_params",
    "count_cost",
    "evaluate",
    "fit_chain",
    "gap_recovered",
    "interpolate_macs_at_accuracy",
    "measure_latency",
    "probe_experts",
    "routing_report",
]
