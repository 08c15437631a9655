"""What every teacher can do, whatever it is made of."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from moist.types import TeacherSignal

__all__ = ["Teacher"]


class Teacher(Protocol):
    """A pre-trained model: a source of signals, never trained on them."""

    @property
    def name(self) -> str:
        """How reports call it."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its logits' columns: the data set's classes, in the data set's order."""
        ...

    @property
    def num_params(self) -> int:
        """Numbers that it has learned."""
        ...

    @property
    def key(self) -> str:
        """Content key: teachers that say the same of the same input have the same one."""
        ...

    def signal(self, raw: np.ndarray) -> TeacherSignal:
        """Return what the teacher says of raw inputs (N, ...) of its data set, augmented or not."""
        ...

    def macs(self, raw: np.ndarray) -> float | None:
        """Return multiply-accumulates per input, the mean over raw inputs (N, ...); None where it has no such count."""
        ...
