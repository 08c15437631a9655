"""Losses between one student's logits and a teacher's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["dist_loss", "dkd_loss", "kd_loss", "soft_cross_entropy", "standardize_logits"]


def soft_cross_entropy(log_probs_NC: Tensor, target_probs_NC: Tensor) -> Tensor:
    """Return the mean cross-entropy of log-probabilities (N, C) under target probabilities (N, C), in nats."""
    return -(target_probs_NC * log_probs_NC).sum(dim=-1).mean()


def kd_loss(student_logits_NC: Tensor, teacher_logits_NC: Tensor, temperature: float = 4.0) -> Tensor:
    """Return T² KL(p_teacher ‖ p_student), both softened by temperature T, averaged over N.

    The factor T² keeps the gradient's size independent of the temperature.

    Args:
        student_logits_NC: (N, C).
        teacher_logits_NC: (N, C).
        temperature: T > 0.

    Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 2.
    """
    log_student = F.log_softmax(student_logits_NC / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher_logits_NC / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def standardize_logits(logits_NC: Tensor) -> Tensor:
    """Return logits with mean 0 and standard deviation 1 per example, so that students need not match the scale.

    Sun et al. 2024, "Logit Standardization in Knowledge Distillation" (arXiv 2403.01427), algorithm 1.
    """
    mean = logits_NC.mean(dim=-1, keepdim=True)
    std = logits_NC.std(dim=-1, keepdim=True)
    return (logits_NC - mean) / (std + 1e-7)


def dkd_loss(
    student_logits_NC: Tensor,
    teacher_logits_NC: Tensor,
    target_N: Tensor,
    temperature: float = 4.0,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """Return decoupled distillation: alpha · target-class KL + beta · non-target-class KL, both times T².

    The non-target softmax masks the target out truly (minus infinity) rather than by a large constant.

    Args:
        student_logits_NC: (N, C).
        teacher_logits_NC: (N, C).
        target_N: (N,) int64 classes.
        temperature: T > 0.
        alpha: weight of the binary (target against the rest) part.
        beta: weight of the part among the other classes.

    Zhao et al. 2022, "Decoupled Knowledge Distillation" (arXiv 2203.08679), equation 7.
    """
    log_student = F.log_softmax(student_logits_NC / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher_logits_NC / temperature, dim=-1)
    target_class = _binary_kl(_target_and_rest(log_student, target_N), _target_and_rest(log_teacher, target_N))

    others = F.one_hot(target_N, student_logits_NC.shape[-1]).logical_not()
    non_target = F.kl_div(
        F.log_softmax(_keep(student_logits_NC, others) / temperature, dim=-1),
        F.log_softmax(_keep(teacher_logits_NC, others) / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * (alpha * target_class + beta * non_target)


def _keep(logits_NC: Tensor, mask_NC: Tensor) -> Tensor:
    """Drop the one masked class of each row: (N, C) to (N, C - 1)."""
    return logits_NC[mask_NC].view(logits_NC.shape[0], -1)


def _target_and_rest(log_probs_NC: Tensor, target_N: Tensor) -> Tensor:
    """Return log [p(target), p(all others)] as (N, 2), the rest summed in log space."""
    log_target = log_probs_NC.gather(1, target_N[:, None])
    others = F.one_hot(target_N, log_probs_NC.shape[-1]).logical_not()
    log_rest = _keep(log_probs_NC, others).logsumexp(dim=-1, keepdim=True)
    return torch.cat([log_target, log_rest], dim=1)


def _binary_kl(log_q_N2: Tensor, log_p_N2: Tensor) -> Tensor:
    return F.kl_div(log_q_N2, log_p_N2, reduction="batchmean", log_target=True)


def dist_loss(
    student_logits_NC: Tensor,
    teacher_logits_NC: Tensor,
    temperature: float = 4.0,
    beta: float = 1.0,
    gamma: float = 1.0,
) -> Tensor:
    """Return T² [beta (1 - mean row correlation) + gamma (1 - mean column correlation)] of the softened probabilities.

    The column correlation compares examples within a class, so it needs batches of mixed classes.

    Args:
        student_logits_NC: (N, C).
        teacher_logits_NC: (N, C).
        temperature: T > 0.
        beta: weight of the relation among classes (rows).
        gamma: weight of the relation among examples (columns).

    Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher" (arXiv 2205.10536), equation 10.
    """
    student = F.softmax(student_logits_NC / temperature, dim=-1)
    teacher = F.softmax(teacher_logits_NC / temperature, dim=-1)
    rows = 1 - _pearson(student, teacher).mean()
    columns = 1 - _pearson(student.T, teacher.T).mean()
    return temperature**2 * (beta * rows + gamma * columns)


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    """Return Pearson's correlation of each pair of rows."""
    return F.cosine_similarity(a - a.mean(dim=-1, keepdim=True), b - b.mean(dim=-1, keepdim=True), dim=-1)
