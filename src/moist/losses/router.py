"""Losses that keep a gate balanced and numerically calm."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["importance_loss", "load_balancing_loss", "load_loss", "router_z_loss"]


def load_balancing_loss(gate_probs_NE: Tensor, expert_indices_NK: Tensor) -> Tensor:
    """Return E · Σ_e f_e P_e: 1 when both are uniform, up to E when all goes to one expert.

    f_e is the share of choices that went to expert e (no gradient), P_e the gate's mean probability of it.

    Args:
        gate_probs_NE: (N, E) softmax of the gate.
        expert_indices_NK: (N, K) chosen experts.

    Fedus, Zoph and Shazeer 2021, "Switch Transformers" (arXiv 2101.03961), equations 4 to 6.
    """
    num_experts = gate_probs_NE.shape[-1]
    counts = torch.bincount(expert_indices_NK.flatten(), minlength=num_experts)
    fractions = counts.to(gate_probs_NE.dtype) / expert_indices_NK.numel()
    return num_experts * (fractions * gate_probs_NE.mean(dim=0)).sum()


def importance_loss(gate_weights_NE: Tensor) -> Tensor:
    """Return the squared coefficient of variation of Σ_n G(x_n), the importance of each of E experts.

    Shazeer et al. 2017, "Outrageously Large Neural Networks" (arXiv 1701.06538), equations 6 and 7.
    """
    return _squared_variation(gate_weights_NE.sum(dim=0))


def load_loss(load_probs_NE: Tensor) -> Tensor:
    """Return the squared coefficient of variation of Σ_n P(x_n, e), the smooth load of each of E experts.

    Args:
        load_probs_NE: (N, E) probability that expert e stays among the top k under a new draw of the noise.

    Shazeer et al. 2017 (arXiv 1701.06538), equations 8 to 11.
    """
    return _squared_variation(load_probs_NE.sum(dim=0))


def _squared_variation(totals_E: Tensor) -> Tensor:
    return totals_E.var(unbiased=False) / totals_E.mean().square().clamp_min(1e-10)


def router_z_loss(gate_logits_NE: Tensor) -> Tensor:
    """Return the mean of (log Σ_e exp x_e)², which keeps the gate's logits small.

    Zoph et al. 2022, "ST-MoE" (arXiv 2202.08906), equation 5.
    """
    return gate_logits_NE.logsumexp(dim=-1).square().mean()
