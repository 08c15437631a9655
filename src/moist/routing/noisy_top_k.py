"""Top-k routing under learned noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moist.routing.top_k import select_top_k
from moist.types import Routing

__all__ = ["NoisyTopKRouter", "smooth_load"]

SMALLEST_NOISE = 1e-2


class NoisyTopKRouter(nn.Module):
    """Choose the ``top_k`` largest of H(x) = gate(x) + ε · softplus(noise(x)); weights are their softmax.

    Noise is drawn in training only. The routing's ``load`` is then P(x, e), from which :func:`moist.losses.load_loss`
    is computed; the importance loss takes the weights themselves. The paper starts both gates at zero, so that at first
    noise alone decides; under a shift of 0.01, which keeps the division of P(x, e) calm.

    Args:
        gate: module from inputs (N, ...) to clean scores (N, E).
        noise: module from inputs (N, ...) to raw noise scales (N, E).
        top_k: experts kept per input.

    Shazeer et al. 2017 (arXiv 1701.06538), equations 3 to 5 and 8 to 10.
    """

    def __init__(self, gate: nn.Module, noise: nn.Module, top_k: int = 2) -> None:
        super().__init__()
        self.gate = gate
        self.noise = noise
        self.top_k = top_k

    def forward(self, inputs: Tensor) -> Routing:
        clean_NE = self.gate(inputs)
        if not self.training:
            return select_top_k(clean_NE, self.top_k)
        scale_NE = F.softplus(self.noise(inputs)) + SMALLEST_NOISE
        noisy_NE = clean_NE + torch.randn_like(clean_NE) * scale_NE
        chosen = select_top_k(noisy_NE, self.top_k)
        load_NE = smooth_load(clean_NE, noisy_NE, scale_NE, self.top_k)
        return Routing(noisy_NE, chosen.expert_indices, chosen.expert_weights, load=load_NE)


def smooth_load(clean_NE: Tensor, noisy_NE: Tensor, scale_NE: Tensor, top_k: int) -> Tensor:
    """Return P(x, e), the probability that e is among the ``top_k`` if only its own noise is drawn again: (N, E).

    Args:
        clean_NE: scores without noise.
        noisy_NE: scores that decided.
        scale_NE: standard deviation of the noise.
        top_k: experts kept per input; where it is E, all stay with certainty.

    Shazeer et al. 2017 (arXiv 1701.06538), equation 9.
    """
    if top_k >= clean_NE.shape[-1]:
        return torch.ones_like(clean_NE)
    best = noisy_NE.topk(top_k + 1, dim=-1).values
    inside, outside = best[:, top_k - 1 : top_k], best[:, top_k:]
    # To stay, one of the chosen must beat the first that was left out; another must beat the last that was chosen.
    threshold_NE = torch.where(noisy_NE >= inside, outside, inside)
    load_NE: Tensor = torch.special.ndtr((clean_NE - threshold_NE) / scale_NE)
    return load_NE
