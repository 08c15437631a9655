"""The average of several teachers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from moist.storage import content_key
from moist.teachers.interface import Teacher
from moist.types import TeacherSignal

__all__ = ["EnsembleTeacher"]


class EnsembleTeacher:
    """Averages its members' probabilities; its embedding is theirs side by side, where all have one.

    Args:
        members: at least one teacher; all of the same classes.
        name: how reports call it.
    """

    def __init__(self, members: Sequence[Teacher], name: str | None = None) -> None:
        self.members = tuple(members)
        self.classes = self.members[0].classes
        self.name = name or f"ensemble of {len(self.members)}"
        self.key = content_key("ensemble", [member.key for member in self.members])

    @property
    def num_params(self) -> int:
        """Of all members."""
        return sum(member.num_params for member in self.members)

    def signal(self, raw: np.ndarray) -> TeacherSignal:
        """Return the logarithm of the mean probabilities (N, C), and the embeddings (N, D), of raw inputs (N, ...)."""
        signals = [member.signal(raw) for member in self.members]
        log_probabilities = torch.stack([torch.log_softmax(signal.logits.double(), dim=1) for signal in signals])
        logits = torch.logsumexp(log_probabilities, dim=0) - math.log(len(signals))
        embeddings = [signal.embedding for signal in signals if signal.embedding is not None]
        whole = len(embeddings) == len(signals)
        return TeacherSignal(logits.float(), torch.cat(embeddings, dim=1) if whole else None)

    def macs(self, raw: np.ndarray) -> float | None:
        """Return the sum of the members' multiply-accumulates per input; None where one has no such count."""
        counts = [member.macs(raw) for member in self.members]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None
