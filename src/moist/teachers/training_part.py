"""The labelled training part that some teachers are fitted on."""

from __future__ import annotations

import numpy as np

from moist.data import IndexedDataset
from moist.types import UserError

__all__ = ["TrainingPart"]


class TrainingPart:
    """Inputs (N, ...), labels (N,) and class names of a training part that a classifier can be fitted on.

    Raises:
        UserError: there are no labels, or all examples are of one class.
    """

    def __init__(self, train: IndexedDataset) -> None:
        if train.target is None:
            raise UserError(
                f"this kind of teacher is fitted on labels, and {train.name!r} has none; use a pre-trained teacher "
                "(kind torch or huggingface, or a factory that returns a fitted classifier), or data with a label "
                "column"
            )
        if len(np.unique(train.target)) < 2:
            raise UserError(
                f"a teacher needs at least two classes to tell apart; the {len(train)} training examples of "
                f"{train.name!r} are all of one; check the label column"
            )
        self.inputs, self.target, self.schema, self.kind = train.inputs, train.target, train.schema, train.kind
        self.classes = train.classes or tuple(str(number) for number in range(int(train.target.max()) + 1))
        self.fingerprint = train.fingerprint
