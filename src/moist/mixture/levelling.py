"""Give every specialist of a trained mixture its share of the inputs."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn

from moist.types import UserError

__all__ = ["add_to_scores", "level_shares"]

ROUNDS = 1000  # for each specialist; a trained router needs a few


def level_shares(scores_NK: Tensor, least: float) -> Tensor:
    """Return what to add to each specialist's score (K,) so that it comes first on a part of the inputs at least.

    The one furthest from it is raised, by no more than it needs, until none is short of it; where none is, all is zero.
    No label is looked at.

    Args:
        scores_NK: of many inputs.
        least: the part, of an equal share (N / K inputs); below 1.

    Raises:
        UserError: the scores tell too few inputs apart to share them out.

    Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts" (arXiv 2408.15664): a bias on
    the scores for each expert, there moved while training.
    """
    scores_NK = scores_NK.double()
    num_inputs, num_domains = scores_NK.shape
    need = max(1, ceil(least * num_inputs / num_domains))
    added_K = torch.zeros(num_domains, dtype=scores_NK.dtype)
    step = 1e-3 * float(scores_NK.std()) + 1e-9
    for _ in range(ROUNDS * num_domains):
        raised_NK = scores_NK + added_K
        served_K = torch.bincount(raised_NK.argmax(dim=1), minlength=num_domains)
        short = int(served_K.argmin())
        if served_K[short] >= need:
            return (added_K - added_K.min()).float()
        behind_N = raised_NK.max(dim=1).values - raised_NK[:, short]
        added_K[short] += behind_N.kthvalue(need).values + step
    raise UserError(
        f"every specialist must get {need} of {num_inputs} inputs, but the router's scores tell too few of them apart; "
        "set mixture.least_share=0, or train longer"
    )


@torch.no_grad()
def add_to_scores(gate: nn.Module, added_K: Tensor) -> None:
    """Add a number to each specialist's score, in the bias of the gate's last layer.

    Raises:
        UserError: the gate does not end in a linear layer with a bias.
    """
    layers = [layer for layer in gate.modules() if isinstance(layer, nn.Linear)]
    if not layers or layers[-1].bias is None or len(layers[-1].bias) != len(added_K):
        raise UserError(
            "mixture.least_share needs a router that ends in a linear layer with a bias for each specialist, got "
            f"{type(gate).__name__}; set mixture.least_share=0"
        )
    layers[-1].bias.add_(added_K)
