"""Gather what the report shows beside the numbers."""

from __future__ import annotations

import numpy as np
import yaml

from moist.data import IndexedDataset, TableSchema
from moist.evaluation import calibration_curve
from moist.recipes.measure import Measured
from moist.recipes.workspace import Workspace
from moist.report import DomainSample, ReportDetails

__all__ = ["describe"]

NUM_SAMPLES = 12
NUM_FEATURES = 6
CALIBRATED = ("teacher", "student_same_cost", "mixture")


def describe(space: Workspace, measured: Measured, verdict: str) -> ReportDetails:
    """Return the report's details for one measured seed."""
    test = space.part("test")
    scores, logits = measured.scores
    routed = scores.argmax(axis=1)
    num_domains, classes = scores.shape[1], space.splits.train.classes
    predicted = logits[np.arange(len(routed)), routed].argmax(axis=1)
    target = predicted if test is None or test.target is None else test.target
    by_domain = np.zeros((len(classes), num_domains), dtype=np.int64)
    np.add.at(by_domain, (target, routed), 1)
    return ReportDetails(
        verdict=verdict,
        classes=classes,
        class_by_domain=by_domain,
        load=np.asarray(measured.routing["load"]),
        routing_confusion=_routing_confusion(measured, None if test is None else test.target),
        calibration=_calibration(measured, None if test is None else test.target),
        domains=[] if test is None else [_sample(test, routed, by_domain, k, classes) for k in range(num_domains)],
        curves=measured.histories,
        config=yaml.safe_dump(space.settings.model_dump(mode="json"), sort_keys=False),
    )


def _routing_confusion(measured: Measured, target: np.ndarray | None) -> np.ndarray | None:
    if "domain_confusion" in measured.routing:
        return np.asarray(measured.routing["domain_confusion"])
    if target is None:
        return None
    scores, logits = measured.scores
    num_domains = scores.shape[1]
    log_probs = logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)
    best = log_probs[np.arange(len(target)), :, target].argmax(axis=1)
    confusion = np.zeros((num_domains, num_domains), dtype=np.int64)
    np.add.at(confusion, (best, scores.argmax(axis=1)), 1)
    return confusion


def _calibration(measured: Measured, target: np.ndarray | None) -> dict[str, list[tuple[float, float, int]]]:
    if target is None:
        return {}
    curves = {}
    for name in CALIBRATED:
        system = measured.systems.get(name)
        if system is not None and system.probabilities is not None:
            curve = calibration_curve(system.probabilities, target)
            points = zip(curve.confidence.tolist(), curve.accuracy.tolist(), curve.count.tolist())
            curves[name] = list(points)
    return curves


def _sample(
    test: IndexedDataset, routed: np.ndarray, by_domain: np.ndarray, domain: int, classes: tuple[str, ...]
) -> DomainSample:
    rows = np.flatnonzero(routed == domain)
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), NUM_SAMPLES)).astype(int)] if len(rows) else rows
    counts = by_domain[:, domain]
    most = [c for c in counts.argsort()[::-1][:5] if counts[c]]
    top = [(classes[c], float(counts[c] / counts.sum())) for c in most]
    if test.kind == "vision":
        return DomainSample(images=[np.asarray(test.inputs[row]) for row in some], top_classes=top)
    if test.kind == "text":
        return DomainSample(texts=[str(test.inputs[row]) for row in some], top_classes=top)
    return DomainSample(features=_features(test, rows), top_classes=top)


def _features(test: IndexedDataset, rows: np.ndarray) -> list[tuple[str, float]]:
    """Return the columns whose mean in the domain lies furthest from the overall mean, in standard deviations."""
    assert isinstance(test.schema, TableSchema)
    if not len(rows):
        return []
    numeric = [i for i, column in enumerate(test.schema.columns) if column.kind == "numeric"]
    values = np.asarray(test.inputs, dtype=np.float64)[:, numeric]
    shift = (np.nanmean(values[rows], axis=0) - np.nanmean(values, axis=0)) / (np.nanstd(values, axis=0) + 1e-12)
    order = np.nan_to_num(np.abs(shift)).argsort()[::-1][:NUM_FEATURES]
    return [(test.schema.columns[numeric[i]].name, float(shift[i])) for i in order]
