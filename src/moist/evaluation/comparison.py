"""Comparisons between systems: the cost of equal accuracy, and how much of the gap to the teacher is closed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, log

__all__ = ["gap_recovered", "interpolate_macs_at_accuracy"]


def interpolate_macs_at_accuracy(frontier: Sequence[tuple[float, float]], accuracy: float) -> float | None:
    """Return the cost at which a single student reaches an accuracy, read off a measured frontier.

    The frontier's envelope is the best accuracy at no more than a cost (a larger student that does worse is passed
    over); between its points accuracy is linear in the logarithm of the cost.

    Args:
        frontier: (MACs, accuracy) of measured students, in any order.
        accuracy: the accuracy to reach.

    Returns:
        MACs per input. None where the accuracy lies above the whole frontier. At or below the cheapest student's
        accuracy, that student's MACs: an upper bound, so whoever claims an advantage from it must first measure a
        cheaper student.
    """
    envelope = _envelope(frontier)
    if not envelope or accuracy > envelope[-1][1]:
        return None
    if accuracy <= envelope[0][1]:
        return envelope[0][0]
    for (low_macs, low), (high_macs, high) in pairwise(envelope):
        if accuracy <= high:
            share = (accuracy - low) / (high - low)
            return exp(log(low_macs) + share * (log(high_macs) - log(low_macs)))
    return None


def _envelope(frontier: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The students that no cheaper (or equally cheap) one matches, by rising cost and accuracy."""
    best: list[tuple[float, float]] = []
    for macs, accuracy in sorted(frontier, key=lambda point: (point[0], -point[1])):
        if not best or accuracy > best[-1][1]:
            best.append((macs, accuracy))
    return best


def gap_recovered(mixture: float, student: float, teacher: float) -> float | None:
    """Return how much of the gap between the same-cost student and the teacher the mixture closes.

    Args:
        mixture: the mixture's accuracy.
        student: accuracy of one distilled student of the same active cost.
        teacher: the teacher's accuracy.

    Returns:
        (mixture − student) / (teacher − student): 1 is the whole gap, below 0 is worse than the student. None where
        the teacher is no better than the student, so that there is no gap to close.
    """
    if teacher <= student:
        return None
    return (mixture - student) / (teacher - student)
