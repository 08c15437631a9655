"""The confidence under which a cheap model hands an input on, chosen on validation so that the mean cost fits."""

from __future__ import annotations

from math import floor, nextafter

import numpy as np

from moist.types import UserError

__all__ = ["choose_threshold_for_cost"]

ALWAYS_DEFER = nextafter(1.0, 2.0)  # above every probability, and finite, so that JSON can hold it


def choose_threshold_for_cost(
    confidence: np.ndarray, cheap_macs: float, extra_macs: float, target_macs: float
) -> float:
    """Return the largest threshold whose mean cost on these examples is at most the target.

    An input is handed on where its confidence is *below* the threshold, and then costs ``extra_macs`` more.

    Args:
        confidence: (N,) top probability of the cheap model on validation examples, N at least 1.
        cheap_macs: cost of the cheap model, paid by every input.
        extra_macs: further cost of an input that is handed on.
        target_macs: mean cost allowed.

    Returns:
        The threshold; just above 1 where every input may be handed on.

    Raises:
        UserError: the target is below the cost of the cheap model alone.
    """
    if target_macs < cheap_macs:
        raise UserError(
            f"target_macs must be at least the cheap model's {cheap_macs:g}, got {target_macs:g}; "
            "raise the target or take a smaller first model"
        )
    # The small term keeps a budget of exactly n inputs from being rounded down to n - 1.
    allowed = floor((target_macs - cheap_macs) / extra_macs * len(confidence) + 1e-9) if extra_macs > 0 else None
    if allowed is None or allowed >= len(confidence):
        return ALWAYS_DEFER
    # Fewer than or exactly `allowed` examples lie strictly below this one; any larger threshold would defer more.
    return float(np.partition(confidence, allowed)[allowed])
