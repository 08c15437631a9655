"""Specialists of unequal size: easy inputs leave early, at a small head beside the trunk; large tails serve the rest.

How sure the small head is decides, so that routing costs nothing beyond it (Teerapittayanon et al. 2016, "BranchyNet",
arXiv 1709.01686, with the margin of the two largest probabilities in place of the entropy).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import torch
from pydantic import Field
from torch import Tensor, nn

from moist.config import Settings
from moist.mixture.pooling import pool_features

__all__ = ["EarlyExitGate", "ExitHead", "ExitSettings", "ExitTrunk", "LargeTail", "calibrate_exit", "expected_load"]


class ExitSettings(Settings):
    """An early exit as the first specialist, and large ones for what it is unsure of."""

    width: int = Field(
        description="width of the exit's own stages, those of the student behind the trunk; smaller than the student's"
    )
    share: float = Field(
        0.6,
        gt=0,
        lt=1,
        description="share of the inputs that leave at the exit; its threshold is calibrated to it on the validation "
        "part",
    )


def expected_load(num_domains: int, early_exit: ExitSettings | None) -> list[float]:
    """Return the share of the inputs that each specialist should serve: all an equal one, but for an exit's."""
    if early_exit is None:
        return [1 / num_domains] * num_domains
    return [early_exit.share, *[(1 - early_exit.share) / (num_domains - 1)] * (num_domains - 1)]


class ExitTrunk(nn.Module):
    """The shared stages, and behind them the exit's own, which every input passes too.

    Args:
        stages: shared stages, inputs to features (N, ...).
        branch: the exit's stages, from these features to its own, which are averaged over space or words.
    """

    def __init__(self, stages: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.stages = stages
        self.branch = branch

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (N, ...) to (N, D + E): the shared features, flat, and the exit's."""
        features = self.stages(inputs)
        return torch.cat([features.flatten(1), pool_features(self.branch(features))], dim=1)


class ExitHead(nn.Module):
    """The first specialist: a linear layer on the exit's features.

    Args:
        linear: of E inputs and C outputs.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, D + E) to logits (N, C)."""
        logits: Tensor = self.linear(self.own(features))
        return logits

    def own(self, features: Tensor) -> Tensor:
        """Return the exit's features (N, E)."""
        return features[:, -self.linear.in_features :]


class LargeTail(nn.Module):
    """A specialist that goes on from the shared features.

    Args:
        stages: shared features (N, *shape) to logits (N, C).
        shape: of the shared features, D in all.
    """

    def __init__(self, stages: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.stages = stages
        self.shape = tuple(shape)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, D + E), the exit's own last, to logits (N, C)."""
        logits: Tensor = self.stages(features[:, : prod(self.shape)].reshape(-1, *self.shape))
        return logits


class EarlyExitGate(nn.Module):
    """Send an input to the exit where its two largest probabilities there lie far apart, else to a large specialist.

    Args:
        head: the exit's linear layer, the first specialist's own.
        among: scores (N, K - 1) of the large specialists from the exit's features (N, E); None where there is one.
    """

    threshold: Tensor

    def __init__(self, head: ExitHead, among: nn.Module | None) -> None:
        super().__init__()
        self.head = head
        self.among = among
        self.register_buffer("threshold", torch.tensor(0.5))

    def margin(self, features: Tensor) -> Tensor:
        """Return how far apart the two largest probabilities at the exit are, (N,)."""
        best_N2 = self.head(features).float().softmax(dim=1).topk(2, dim=1).values
        margin: Tensor = best_N2[:, 0] - best_N2[:, 1]
        return margin

    def forward(self, features: Tensor) -> Tensor:
        """Return scores (N, K); the exit's is the largest exactly where the margin is over the threshold."""
        margin_N1 = self.margin(features)[:, None]
        large_NL = torch.zeros_like(margin_N1) if self.among is None else self.among(self.head.own(features)).float()
        # A whole step above or below, so that rounding cannot undo what the threshold decides.
        step_N1 = (margin_N1 > self.threshold).float() * 2 - 1
        return torch.cat([large_NL.amax(dim=1, keepdim=True) + step_N1, large_NL], dim=1)


@torch.inference_mode()
def calibrate_exit(trunk: nn.Module, gate: EarlyExitGate, batches: Iterable[Tensor], share: float) -> None:
    """Set the gate's threshold so that ``share`` of the inputs leave at the exit.

    Args:
        trunk: in evaluation mode.
        gate: whose threshold is set.
        batches: of inputs (N, ...) that the model was not trained on.
        share: between 0 and 1.
    """
    margins = torch.cat([gate.margin(trunk(inputs)) for inputs in batches])
    gate.threshold.fill_(float(margins.quantile(1 - share)))
