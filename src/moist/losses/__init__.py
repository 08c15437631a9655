"""Losses: functions of tensors, without state; none looks inside a model."""

from moist.losses.distillation import dist_loss, dkd_loss, kd_loss, soft_cross_entropy, standardize_logits
from moist.losses.mixture import expected_nll, mixture_log_probs, mixture_nll, mutual_distillation_loss
from moist.losses.router import importance_loss, load_balancing_loss, load_loss, router_z_loss

__all__ = [
    "dist_loss",
    "dkd_loss",
    "expected_nll",
    "importance_loss",
    "kd_loss",
    "load_balancing_loss",
    "load_loss",
    "mixture_log_probs",
    "mixture_nll",
    "mutual_distillation_loss",
    "router_z_loss",
    "soft_cross_entropy",
    "standardize_logits",
]
