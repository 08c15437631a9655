"""How well probabilities fit labels: accuracy, negative log-likelihood, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moist.types import Evaluation, UserError

__all__ = ["CalibrationCurve", "calibration_curve", "evaluate"]

NUM_BINS = 15
SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class CalibrationCurve:
    """Accuracy against confidence, one point per bin that holds an example.

    Args:
        confidence: (B,) mean top probability of the bin's examples.
        accuracy: (B,) fraction of them whose most probable class is right.
        count: (B,) int64 number of them.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance between confidence and accuracy, weighted by count."""
        distance = np.abs(self.confidence - self.accuracy)
        return float((self.count * distance).sum() / self.count.sum())


def evaluate(probabilities: np.ndarray, target: np.ndarray) -> Evaluation:
    """Score probabilities against labels.

    The log-likelihood clips probabilities at 1e-12, so that one certain mistake costs 27.6 nats and not infinity.

    Args:
        probabilities: (N, C), each row sums to 1.
        target: (N,) int64 class of each example.

    Raises:
        UserError: the shapes disagree, there is no example, a probability is not finite, or a class is out of range.
    """
    _check(probabilities, target)
    likelihood = probabilities[np.arange(len(target)), target].astype(np.float64)
    return Evaluation(
        num_examples=len(target),
        accuracy=float((probabilities.argmax(axis=1) == target).mean()),
        nll=float(-np.log(likelihood.clip(SMALLEST_PROBABILITY, 1.0)).mean()),
        ece=calibration_curve(probabilities, target).ece,
    )


def calibration_curve(probabilities: np.ndarray, target: np.ndarray, num_bins: int = NUM_BINS) -> CalibrationCurve:
    """Group examples by their top probability into bins of equal width (Guo et al. 2017, equations 2 and 3).

    Args:
        probabilities: (N, C), each row sums to 1.
        target: (N,) int64 class of each example.
        num_bins: bins over (0, 1]; bin b holds confidences in (b / num_bins, (b + 1) / num_bins].

    Raises:
        UserError: as :func:`evaluate`.
    """
    _check(probabilities, target)
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == target).astype(np.float64)
    bins = (np.ceil(confidence * num_bins).astype(np.int64) - 1).clip(0, num_bins - 1)
    count = np.bincount(bins, minlength=num_bins)
    filled = count > 0

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.bincount(bins, weights=values, minlength=num_bins)[filled] / count[filled])

    return CalibrationCurve(confidence=mean(confidence), accuracy=mean(right), count=count[filled])


def _check(probabilities: np.ndarray, target: np.ndarray) -> None:
    if probabilities.ndim != 2 or target.shape != probabilities.shape[:1] or len(target) == 0:
        raise UserError(
            "probabilities must be (N, C) and target (N,) with N at least 1, "
            f"got {probabilities.shape} and {target.shape}; score equally many rows of both"
        )
    if not np.isfinite(probabilities).all():
        rows = int((~np.isfinite(probabilities)).any(axis=1).sum())
        raise UserError(
            f"probabilities must be finite, got NaN or infinity in {rows} of {len(target)} rows; "
            "lower the learning rate or look for NaN in the inputs"
        )
    if target.min() < 0 or target.max() >= probabilities.shape[1]:
        raise UserError(
            f"target classes must be between 0 and {probabilities.shape[1] - 1}, "
            f"got {target.min()} to {target.max()}; match the labels to the model's classes"
        )
