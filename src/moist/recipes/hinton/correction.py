"""A bias of some classes, changed after training: what it does to the errors, and how it is found."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

__all__ = ["margins", "matching_shift", "optimal_shift", "shift_classes"]


def shift_classes(logits_NC: Tensor, classes: Collection[int], shift: float) -> Tensor:
    """Return logits (N, C) with ``shift`` added to those of ``classes``, as a change of their biases does."""
    shifted = logits_NC.clone()
    shifted[:, sorted(classes)] += shift
    return shifted


def margins(logits_NC: Tensor, classes: Collection[int]) -> Tensor:
    """Return for each row (N,) the shift above which its class is one of ``classes``."""
    inside = _inside(logits_NC, classes)
    return logits_NC[:, ~inside].amax(dim=1) - logits_NC[:, inside].amax(dim=1)


def matching_shift(logits_NC: Tensor, classes: Collection[int], share: float) -> float:
    """Return the shift with which this share of the rows is given one of ``classes``.

    No row's label is needed, only how common the classes are.

    Args:
        logits_NC: (N, C) of rows in which the classes are as common as ``share`` says.
        classes: whose biases are shifted.
        share: of the rows that belong to these classes.
    """
    return float(margins(logits_NC, classes).double().quantile(share))


def optimal_shift(logits_NC: Tensor, target_N: Tensor, classes: Collection[int]) -> float:
    """Return the shift with the fewest errors, in the middle of its interval; an exact search over all shifts.

    Args:
        logits_NC: (N, C), N at least 2.
        target_N: (N,) the rows' classes.
        classes: whose biases are shifted.
    """
    inside = _inside(logits_NC, classes)
    best_in = logits_NC.masked_fill(~inside, -torch.inf).argmax(dim=1)
    best_out = logits_NC.masked_fill(inside, -torch.inf).argmax(dim=1)
    limit, order = margins(logits_NC, classes).double().sort()
    # After the first k limits are passed, those k rows are given their best class inside, the others that outside.
    gain = ((best_in == target_N).long() - (best_out == target_N).long())[order].cumsum(dim=0)
    # Rows with the same limit change together, so a shift may lie only between two limits that differ.
    between = limit[1:] > limit[:-1]
    found = gain[:-1].masked_fill(~between, -len(gain)).argmax()
    return float((limit[found] + limit[found + 1]) / 2)


def _inside(logits_NC: Tensor, classes: Collection[int]) -> Tensor:
    inside = torch.zeros(logits_NC.shape[1], dtype=torch.bool)
    inside[sorted(classes)] = True
    return inside
