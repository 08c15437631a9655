"""What a teacher says of training rows, and of further rows made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from moist.types import UserError

__all__ = ["Crossing", "default_teacher", "draw_crossing", "fitted_teacher", "soft_targets", "spread_probs"]

LENT = 0.25
CANDIDATES = 32
LEAST = 1e-6


def default_teacher(seed: int) -> HistGradientBoostingClassifier:
    """Return the teacher where none is given: gradient boosting, which reads numbers and missing ones."""
    return HistGradientBoostingClassifier(random_state=seed)


def fitted_teacher(teacher: Any, rows: Any, labels: np.ndarray) -> Any:
    """Return the teacher itself where it is fitted, else a fitted copy.

    Raises:
        UserError: it gives no probabilities, or does not know a label.
    """
    try:
        check_is_fitted(teacher)
        fitted = teacher
    except NotFittedError:
        fitted = clone(teacher).fit(rows, labels)
    if not hasattr(fitted, "predict_proba") or not hasattr(fitted, "classes_"):
        raise UserError(
            f"a teacher must have predict_proba and classes_, {teacher!r} lacks them; wrap it in "
            "sklearn.calibration.CalibratedClassifierCV"
        )
    unknown = np.setdiff1d(labels, fitted.classes_)
    if len(unknown):
        raise UserError(
            f"a teacher must know the classes of y, it has never seen {unknown[:5].tolist()}; leave those rows out or "
            "fit another teacher"
        )
    return fitted


def spread_probs(teacher: Any, rows: Any, classes: np.ndarray) -> np.ndarray:
    """Return the teacher's probabilities (N, C) in the order of ``classes``, which hold the teacher's own."""
    probs = np.asarray(teacher.predict_proba(rows), dtype=np.float64)
    spread = np.zeros((len(probs), len(classes)))
    spread[:, np.searchsorted(classes, teacher.classes_)] = probs
    return spread


@dataclass(frozen=True)
class Crossing:
    """New rows, each a training row with some of its values taken from a row like it.

    Args:
        base_M: (M,) the rows they start from.
        partner_M: (M,) the rows that lend values.
        lent_MF: (M, F) which values.
    """

    base_M: np.ndarray
    partner_M: np.ndarray
    lent_MF: np.ndarray

    def of(self, rows: Any) -> Any:
        """Make the new rows out of an array (N, F) or a data frame of pandas."""
        if not hasattr(rows, "iloc"):
            array = np.asarray(rows)
            return np.where(self.lent_MF, array[self.partner_M], array[self.base_M])
        crossed = rows.iloc[self.base_M].reset_index(drop=True)
        lenders = rows.iloc[self.partner_M].reset_index(drop=True)
        columns = [crossed[c].where(~self.lent_MF[:, i], lenders[c]) for i, c in enumerate(crossed.columns)]
        return type(rows)(dict(zip(crossed.columns, columns)))


def draw_crossing(rows: np.ndarray, count: int, random: np.random.RandomState) -> Crossing:
    """Draw ``count`` new rows, with a quarter of the values lent.

    A fitted teacher is nearly certain of the rows that it was fitted on, and so tells hardly more than the labels; of
    new ones it says what it has learned. The partner is the nearest of a few rows drawn at random: near enough for a
    likely row, and cheaper than a search among all.

    Bucilă, Caruana and Niculescu-Mizil 2006, "Model Compression", section 3 (there with the nearest neighbour of all).
    """
    base = random.randint(len(rows), size=count)
    filled = np.nan_to_num(rows.astype(np.float64))
    scaled = (filled - filled.mean(axis=0)) / np.maximum(filled.std(axis=0), 1e-12)
    partner, nearest = base, np.full(count, np.inf)
    for _ in range(min(CANDIDATES, len(rows))):
        drawn = random.randint(len(rows), size=count)
        distance = np.square(scaled[drawn] - scaled[base]).sum(axis=1)
        closer = (distance < nearest) & (drawn != base)
        partner, nearest = np.where(closer, drawn, partner), np.where(closer, distance, nearest)
    return Crossing(base, partner, random.random_sample((count, rows.shape[1])) < LENT)


def soft_targets(probs_NC: np.ndarray, target_N: np.ndarray, label_weight: float) -> np.ndarray:
    """Return the log-probabilities (M, C) to learn: the teacher's, and for the first N rows, partly the labels.

    Args:
        probs_NC: (M, C) the teacher's.
        target_N: (N,) class numbers of the rows that have labels.
        label_weight: share of the labels.
    """
    mixed_NC = probs_NC.copy()
    labelled = slice(0, len(target_N))
    mixed_NC[labelled] *= 1 - label_weight
    mixed_NC[np.arange(len(target_N)), target_N] += label_weight
    result: np.ndarray = np.log(np.maximum(mixed_NC, LEAST))
    return result
