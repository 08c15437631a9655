"""Losses of several models behind one gate."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from moist.losses.distillation import soft_cross_entropy

__all__ = ["expected_nll", "mixture_log_probs", "mixture_nll", "mutual_distillation_loss"]


def mixture_log_probs(gate_logits_NK: Tensor, logits_NKC: Tensor, temperature: float = 1.0) -> Tensor:
    """Return log Σ_k g_k(x) p_k(c | x) as (N, C), summed in log space.

    Args:
        gate_logits_NK: (N, K) scores of the gate; g = softmax, never softened.
        logits_NKC: (N, K, C) logits of every member.
        temperature: softens each member's p_k.

    Jacobs, Jordan, Nowlan and Hinton 1991, "Adaptive Mixtures of Local Experts", equation 1.3.
    """
    log_gate_NK = F.log_softmax(gate_logits_NK, dim=-1)
    log_probs_NKC = F.log_softmax(logits_NKC / temperature, dim=-1)
    return (log_gate_NK[:, :, None] + log_probs_NKC).logsumexp(dim=1)


def mixture_nll(
    gate_logits_NK: Tensor, logits_NKC: Tensor, target_probs_NC: Tensor, temperature: float = 1.0
) -> Tensor:
    """Return the mixture's mean negative log-likelihood under soft targets: -Σ_c t_c log Σ_k g_k p_k(c), times T².

    With one-hot targets and T = 1 it is the likelihood of the classic mixture of experts; with a teacher's softened
    probabilities it is KL(teacher ‖ mixture) up to a constant.

    Args:
        gate_logits_NK: (N, K).
        logits_NKC: (N, K, C).
        target_probs_NC: (N, C), already softened by the same temperature.
        temperature: T > 0.
    """
    return temperature**2 * soft_cross_entropy(
        mixture_log_probs(gate_logits_NK, logits_NKC, temperature), target_probs_NC
    )


def expected_nll(
    gate_logits_NK: Tensor, logits_NKC: Tensor, target_probs_NC: Tensor, temperature: float = 1.0
) -> Tensor:
    """Return E_{k ~ g(x)} of each member's own negative log-likelihood: -Σ_k g_k Σ_c t_c log p_k(c), times T².

    By Jensen's inequality it is never below :func:`mixture_nll`, and equal to it where one member has all the gate's
    belief: it is the loss of answering by one member drawn from the gate, so its minimum makes the gate decide.

    Args:
        gate_logits_NK: (N, K).
        logits_NKC: (N, K, C).
        target_probs_NC: (N, C), already softened by the same temperature.
        temperature: T > 0.

    Jacobs, Jordan, Nowlan and Hinton 1991, "Adaptive Mixtures of Local Experts", equation 1.2.
    """
    log_probs_NKC = F.log_softmax(logits_NKC / temperature, dim=-1)
    loss_NK = -(target_probs_NC[:, None, :] * log_probs_NKC).sum(dim=-1)
    return temperature**2 * (gate_logits_NK.softmax(dim=-1) * loss_NK).sum(dim=-1).mean()


def mutual_distillation_loss(outputs_END: Tensor, form: str = "squared") -> Tensor:
    """Return how far the experts' outputs lie from their average.

    An interpretation of the MoDE paper, whose text was not at hand: mean squared distance to the average
    expert; for two experts this is a quarter of their mean squared difference, so they are given the plain difference.

    Args:
        outputs_END: (E, N, D) outputs of E experts on the same N tokens.
        form: ``squared``, or ``kl`` for KL(average ‖ expert) of the outputs read as logits.

    Raises:
        ValueError: fewer than two experts, or an unknown form.

    Xie et al. 2024, "MoDE: A Mixture-of-Experts Model with Mutual Distillation among the Experts" (arXiv 2402.00893).
    """
    if outputs_END.shape[0] < 2:
        raise ValueError(f"mutual distillation needs at least 2 experts, got {outputs_END.shape[0]}")
    if form == "squared":
        if outputs_END.shape[0] == 2:
            return F.mse_loss(outputs_END[0], outputs_END[1])
        return (outputs_END - outputs_END.mean(dim=0)).square().mean()
    if form == "kl":
        log_probs = F.log_softmax(outputs_END, dim=-1)
        average = log_probs.exp().mean(dim=0, keepdim=True).expand_as(log_probs)
        return F.kl_div(log_probs.flatten(0, 1), average.flatten(0, 1), reduction="batchmean")
    raise ValueError(f"form must be 'squared' or 'kl', got {form!r}")
