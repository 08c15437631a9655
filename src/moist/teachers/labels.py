"""Label spaces: a teacher's outputs are put into the data set's class order by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from moist.types import UserError

__all__ = ["LOG_FLOOR", "check_num_outputs", "match_classes", "spread_columns"]

# The log-probability of a class that a fitted teacher has never seen, and the least that one is given.
LOG_FLOOR = float(np.log(1e-6))


def match_classes(names: Sequence[str], classes: Sequence[str], teacher: str) -> np.ndarray:
    """Return, for each class of the data, the column of the teacher's output that bears its name.

    Names are compared without regard to case, blanks, hyphens and underscores.

    Args:
        names: the teacher's outputs, in order.
        classes: the data set's classes, in order; empty where nothing names them, which keeps the teacher's order.
        teacher: its name, for the error.

    Returns:
        (C,) int64 columns.

    Raises:
        UserError: the two are not the same set of names.
    """
    if not classes:
        return np.arange(len(names))
    ours, theirs = [_plain(name) for name in classes], [_plain(name) for name in names]
    if len(set(ours)) < len(ours) or len(set(theirs)) < len(theirs):
        # Names that differ in nothing but case or blanks: only exact names tell them apart.
        ours, theirs = list(classes), list(names)
    columns = {name: column for column, name in enumerate(theirs)}
    if len(columns) != len(names) or set(ours) != set(theirs):
        raise UserError(
            f"a teacher must have the data's classes; teacher {teacher!r} has {len(names)}: {_listed(names)}; "
            f"the data have {len(classes)}: {_listed(classes)}; "
            "give the names of the teacher's outputs, in order, as teacher.classes, or choose another teacher"
        )
    return np.array([columns[name] for name in ours], dtype=np.int64)


def check_num_outputs(outputs: int, names: Sequence[str], teacher: str) -> None:
    """Check that a teacher has one output for each name.

    Raises:
        UserError: it has more, or fewer.
    """
    if names and outputs != len(names):
        raise UserError(
            f"a teacher must have one output per class; teacher {teacher!r} has {outputs} outputs for the "
            f"{len(names)} classes {_listed(names)}; choose a teacher of these classes, or list the names of its "
            "outputs as teacher.classes"
        )


def spread_columns(values: np.ndarray, present: np.ndarray, num_classes: int) -> np.ndarray:
    """Put log-probabilities (N, P) of the classes ``present`` (P,) into (N, C) columns, the others at the floor."""
    spread = np.full((len(values), num_classes), LOG_FLOOR, dtype=np.float32)
    spread[:, present] = values
    return spread


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", " ", name).strip().casefold()


def _listed(names: Sequence[str], most: int = 30) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"[{', '.join(map(str, names[:most]))}{more}]"
