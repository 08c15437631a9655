"""The router of Switch Transformers: one expert, weighted by its probability."""

from __future__ import annotations

from torch import nn

from moist.routing.top_k import TopKRouter

__all__ = ["SWITCH_GATE_SCALE", "SwitchRouter"]

SWITCH_GATE_SCALE = 0.1


class SwitchRouter(TopKRouter):
    """The one best expert; its probability stays in the combination, and carries the task's gradient to the gate.

    Args:
        gate: module from inputs (N, ...) to logits (N, E); the paper's is a linear gate of scale 0.1 with jitter.

    Fedus, Zoph and Shazeer 2021 (arXiv 2101.03961), equations 1 and 2.
    """

    def __init__(self, gate: nn.Module) -> None:
        super().__init__(gate, top_k=1, combine="probability")
