"""The distribution that agrees best with a generalist and the specialists that cover an input."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["agree"]


def agree(
    generalist_NC: Tensor,
    specialists_NMS: Tensor,
    dustbin_NM: Tensor,
    sets_MS: Tensor,
    covers_NM: Tensor,
    *,
    max_steps: int = 100,
    tolerance: float = 1e-6,
) -> Tensor:
    """Return q (N, C) that minimises KL(p_g ‖ q) + Σ_m KL(p_m ‖ q), over the specialists m that cover each input.

    The specialist's dustbin is compared with the sum of q over the classes outside its set. The paper descends the
    gradient for each image. But the sum is, up to a constant, the negative log-likelihood of counts of which some are
    known by group only (the dustbins), convex in q, and EM minimises it without a step size, for all inputs at once:
    each dustbin's mass is shared out in proportion to q, and q becomes the mean of all that was said.

    Args:
        generalist_NC: (N, C) probabilities.
        specialists_NMS: (N, M, S) each specialist's probabilities of its own classes; read where it covers the input.
        dustbin_NM: (N, M) its probability that the class is another.
        sets_MS: (M, S) int64 the classes of each specialist.
        covers_NM: (N, M) bool whether a specialist is asked about an input; none gives the generalist's own answer.
        max_steps: most steps.
        tolerance: stop when no probability changes by more.

    Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), equation 5; Dempster, Laird and Rubin 1977, section 4.1.
    """
    num_classes = generalist_NC.shape[1]
    weight_NM = covers_NM.to(generalist_NC.dtype)
    inside_MC = torch.zeros(len(sets_MS), num_classes, dtype=generalist_NC.dtype, device=generalist_NC.device)
    inside_MC.scatter_(1, sets_MS, 1.0)
    said = weight_NM[:, :, None] * specialists_NMS
    known_NC = generalist_NC.scatter_add(1, sets_MS.flatten().expand(len(said), -1), said.flatten(1))
    voices_N1 = 1 + weight_NM.sum(dim=1, keepdim=True)
    return _share_out(generalist_NC, known_NC, weight_NM * dustbin_NM, 1 - inside_MC, voices_N1, max_steps, tolerance)


def _share_out(
    start_NC: Tensor,
    known_NC: Tensor,
    grouped_NM: Tensor,
    outside_MC: Tensor,
    voices_N1: Tensor,
    max_steps: int,
    tolerance: float,
) -> Tensor:
    """Run EM: mass known by class, and mass known only to lie outside a specialist's set."""
    smallest = torch.finfo(start_NC.dtype).tiny
    q_NC = start_NC.clamp(min=smallest)
    for _ in range(max_steps):
        ratio_NM = grouped_NM / (q_NC @ outside_MC.T).clamp(min=smallest)
        new_NC = (known_NC + q_NC * (ratio_NM @ outside_MC)) / voices_N1
        change = (new_NC - q_NC).abs().max() if len(q_NC) else q_NC.new_zeros(())
        q_NC = new_NC
        if change <= tolerance:
            break
    return q_NC
