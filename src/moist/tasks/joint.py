"""Train a router and its specialists jointly on the mixture likelihood."""

from __future__ import annotations

from typing import Protocol

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from moist.config import Settings
from moist.losses import load_balancing_loss, mixture_log_probs, soft_cross_entropy
from moist.tasks.distill import LossSettings, Signals
from moist.types import Batch

__all__ = ["JointSettings", "JointTask"]


class Mixture(Protocol):
    """What the task needs of a mixture."""

    def forward_all(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gate's scores (N, K) and every specialist's logits (N, K, C)."""
        ...


class JointSettings(Settings):
    """Weights of the joint objective beside the likelihood itself."""

    balance: float = Field(0.05, ge=0, description="weight of the load-balancing loss against dead specialists")


class JointTask(nn.Module):
    """Minimise KL(p_teacher ‖ Σ_k g_k(x) p_k(y | x)), the mixture's negative log-likelihood under soft targets.

    The likelihood rewards a division of labour that the *input* predicts: a specialist learns an example in proportion to the
    gate's own belief, so no partition arises that the router could not follow at test time.

    Args:
        mixture: module with ``forward_all``.
        signals: the teacher, live or cached.
        loss: temperature and share of the labels.
        joint: the other weights.

    Jacobs, Jordan, Nowlan and Hinton 1991, "Adaptive Mixtures of Local Experts", equation 1.3, with soft targets; balance:
    Fedus et al. 2021 (arXiv 2101.03961), equation 4.
    """

    def __init__(self, mixture: nn.Module, signals: Signals, loss: LossSettings, joint: JointSettings) -> None:
        super().__init__()
        self.mixture = mixture
        self.signals = signals
        self.loss = loss
        self.joint = joint

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the loss of one batch, and the balance and accuracy of the deployed choice."""
        del progress
        mixture: Mixture = self.mixture  # type: ignore[assignment]
        gate_NK, logits_NKC = mixture.forward_all(batch.inputs)
        gate_NK, logits_NKC = gate_NK.float(), logits_NKC.float()
        likelihood = self._soft(gate_NK, logits_NKC, self.signals(batch).logits)
        if batch.target is not None and self.loss.hard_weight > 0:
            hard = F.nll_loss(mixture_log_probs(gate_NK, logits_NKC), batch.target)
            likelihood = (1 - self.loss.hard_weight) * likelihood + self.loss.hard_weight * hard
        chosen_N = gate_NK.detach().argmax(dim=1)
        balance = load_balancing_loss(gate_NK.softmax(dim=1), chosen_N[:, None])
        values = {"loss": likelihood + self.joint.balance * balance, "balance": balance.detach()}
        if batch.target is not None:
            deployed_NC = logits_NKC.detach()[range(len(chosen_N)), chosen_N]
            values["accuracy"] = (deployed_NC.argmax(dim=1) == batch.target).float().mean()
        return values

    def _soft(self, gate_NK: Tensor, logits_NKC: Tensor, teacher_NC: Tensor) -> Tensor:
        temperature = self.loss.temperature
        target_NC = (teacher_NC / temperature).softmax(dim=1)
        log_probs_NC = mixture_log_probs(gate_NK, logits_NKC, temperature)
        # Entropy of the target makes it a divergence, so that runs at different temperatures can be read side by side.
        entropy = soft_cross_entropy(target_NC.clamp_min(1e-12).log(), target_NC)
        return temperature**2 * (soft_cross_entropy(log_probs_NC, target_NC) - entropy)
