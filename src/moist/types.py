"""The words that every room shares, as plain frozen dataclasses.

Axes are named once and suffixed in tensor code: ``N`` examples or tokens, ``D`` width, ``E`` experts,
``K`` specialists (or the chosen ones of E), ``C`` classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from moist.errors import UserError

__all__ = ["Batch", "Cost", "Evaluation", "Partition", "Routing", "TeacherSignal", "UserError"]


@dataclass(frozen=True)
class Batch:
    """One batch of examples, each under one view.

    Args:
        index: (N,) int64 rows of the data set that the batch was drawn from.
        view: (N,) int64 view seed of each example; 0 is the plain, unaugmented view.
        inputs: (N, ...) what a student reads.
        target: (N,) int64 class of each example, or None where the data carry no labels.
    """

    index: Tensor
    view: Tensor
    inputs: Tensor
    target: Tensor | None


@dataclass(frozen=True)
class TeacherSignal:
    """What a teacher says of one view of each example.

    Args:
        logits: (N, C) float32, in the data set's class order.
        embedding: (N, D) float32, or None where the teacher has none.
    """

    logits: Tensor
    embedding: Tensor | None = None


@dataclass(frozen=True)
class Routing:
    """A router's decision, returned and never stored.

    Args:
        logits: (N, E) scores of every expert (or specialist).
        expert_indices: (N, K) int64 the chosen ones, best first.
        expert_weights: (N, K) their weights in the combination.
        kept: (N, K) bool, False for a choice that is not carried out (over capacity, say); None where all are.
        load: (N, E) probability that each expert stays among the chosen under a new draw of the router's noise; None
            where the router has none.
    """

    logits: Tensor
    expert_indices: Tensor
    expert_weights: Tensor
    kept: Tensor | None = None
    load: Tensor | None = None


@dataclass(frozen=True)
class Partition:
    """The assignment of classes or of examples to disjoint domains.

    Args:
        num_domains: K.
        assignment: (N,) int64 domain of each training example.
        class_to_domain: (C,) int64 domain of each class, or None where the domains are not made of classes.
    """

    num_domains: int
    assignment: np.ndarray
    class_to_domain: np.ndarray | None = None


@dataclass(frozen=True)
class Evaluation:
    """How well probabilities fit labels.

    Args:
        num_examples: N.
        accuracy: fraction of examples whose most probable class is right.
        nll: mean negative log-likelihood, in nats.
        ece: expected calibration error, 15 bins of equal width, as a fraction.
    """

    num_examples: int
    accuracy: float
    nll: float
    ece: float


@dataclass(frozen=True)
class Cost:
    """What one input costs, counted on the module itself.

    Args:
        macs: multiply-accumulates per input; an embedding read counts as one per dimension.
        params: parameters that are read for one input (active parameters).
        bytes: size of those parameters and buffers as stored.
    """

    macs: float
    params: int
    bytes: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.params + other.params, self.bytes + other.bytes)
