"""Train a router and its specialists jointly on the mixture likelihood."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from moist.config import Settings
from moist.losses import expected_nll, load_balancing_loss, mixture_nll, soft_cross_entropy
from moist.tasks.distill import LossSettings, Signals
from moist.types import Batch

__all__ = ["JointSettings", "JointTask"]


class Mixture(Protocol):
    """What the task needs of a mixture."""

    def forward_all(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gate's scores (N, K) and every specialist's logits (N, K, C)."""
        ...

    def forward_drawn(self, inputs: Tensor, num_drawn: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gate's scores (N, K), the specialists drawn (N, k), and their logits (N, k, C)."""
        ...


class JointSettings(Settings):
    """Weights of the joint objective beside the likelihood itself."""

    balance: float = Field(0.05, ge=0, description="weight of the load-balancing loss against dead specialists")
    sharpen: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of the expected loss of one draw from the gate at the end of training, risen evenly from 0",
    )


class JointTask(nn.Module):
    """Train on the mixture's likelihood under the teacher's soft targets; end on the loss of choosing one specialist.

    The likelihood, KL(p_teacher ‖ Σ_k g_k(x) p_k(y | x)), rewards a division of labour that the *input* predicts: a
    specialist learns an example in proportion to the gate's own belief, so no partition arises that the router could
    not follow at test time. But it is content with a gate that hedges between specialists, which one choice cannot. So
    its weight falls to 1 - ``sharpen`` during training, in favour of the expected loss Σ_k g_k(x) KL(p_teacher ‖ p_k),
    whose minimum has a gate that decides and specialists that are right alone.

    With ``active`` only that many specialists run on each example, drawn by the gate, and share the example among
    themselves: training then costs little more than that of one student.

    Args:
        mixture: module with ``forward_all``, and ``forward_drawn`` where ``active`` is given.
        signals: the teacher, live or cached.
        loss: temperature and share of the labels.
        joint: the other weights.
        active: specialists that run on each example; None for all.
        early_exit: the first specialist is an early exit: it learns from every example, as do the others together,
            among whom alone the gate's scores are learned.

    Jacobs, Jordan, Nowlan and Hinton 1991, "Adaptive Mixtures of Local Experts", equations 1.2 and 1.3, with soft
    targets; balance: Fedus et al. 2021 (arXiv 2101.03961), equation 4.
    """

    def __init__(
        self,
        mixture: nn.Module,
        signals: Signals,
        loss: LossSettings,
        joint: JointSettings,
        active: int | None = None,
        *,
        early_exit: bool = False,
    ) -> None:
        super().__init__()
        self.active = active
        self.early_exit = early_exit
        self.mixture = mixture
        self.signals = signals
        self.loss = loss
        self.joint = joint

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the loss of one batch, the balance, and the deployed choice's accuracy.

        Without labels it is the choice's agreement with the teacher.
        """
        scores_NK, gate_NK, logits_NKC = self._forward(batch.inputs)
        first = 1 if self.early_exit else 0
        teacher_NC = self.signals(batch).logits
        loss = self._loss(gate_NK[:, first:], logits_NKC[:, first:], teacher_NC, batch.target, progress)
        if self.early_exit:
            loss = loss + self._loss(gate_NK[:, :1], logits_NKC[:, :1], teacher_NC, batch.target, progress)
        learned_NK = scores_NK[:, first:]
        balance = load_balancing_loss(learned_NK.softmax(dim=1), learned_NK.detach().argmax(dim=1, keepdim=True))
        values = {"loss": loss + self.joint.balance * balance, "balance": balance.detach()}
        chosen_N = gate_NK.detach().argmax(dim=1)
        answer_N = logits_NKC.detach()[torch.arange(len(chosen_N)), chosen_N].argmax(dim=1)
        name, right_N = ("agreement", teacher_NC.argmax(dim=1)) if batch.target is None else ("accuracy", batch.target)
        return {**values, name: (answer_N == right_N).float().mean()}

    def _forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scores of all specialists, and scores and logits of those that ran."""
        mixture: Mixture = self.mixture  # type: ignore[assignment]
        if self.active is None:
            scores_NK, logits_NKC = mixture.forward_all(inputs)
            return scores_NK.float(), scores_NK.float(), logits_NKC.float()
        scores_NK, drawn, logits_NKC = mixture.forward_drawn(inputs, self.active)
        return scores_NK.float(), scores_NK.float().gather(1, drawn), logits_NKC.float()

    def _loss(
        self, gate_NK: Tensor, logits_NKC: Tensor, teacher_NC: Tensor, target: Tensor | None, progress: float
    ) -> Tensor:
        """Return the loss of some members under the teacher's targets and, as far as they count, the labels."""
        sharpness = self.joint.sharpen * progress
        loss = self._likelihood(gate_NK, logits_NKC, teacher_NC, sharpness)
        if target is not None and self.loss.hard_weight > 0:
            label_NC = F.one_hot(target, logits_NKC.shape[2]).float()
            hard = _between(gate_NK, logits_NKC, label_NC, 1.0, sharpness)
            loss = (1 - self.loss.hard_weight) * loss + self.loss.hard_weight * hard
        return loss

    def _likelihood(self, gate_NK: Tensor, logits_NKC: Tensor, teacher_NC: Tensor, sharpness: float) -> Tensor:
        temperature = self.loss.temperature
        log_target_NC = (teacher_NC / temperature).log_softmax(dim=1)
        target_NC = log_target_NC.exp()
        # Less the target's entropy it is a divergence, so that runs at different temperatures can be read side by side.
        entropy = temperature**2 * soft_cross_entropy(log_target_NC, target_NC)
        return _between(gate_NK, logits_NKC, target_NC, temperature, sharpness) - entropy


def _between(gate_NK: Tensor, logits_NKC: Tensor, target_NC: Tensor, temperature: float, sharpness: float) -> Tensor:
    """Return the loss between the mixture's likelihood (sharpness 0) and the expected loss of one choice (1)."""
    likelihood = mixture_nll(gate_NK, logits_NKC, target_NC, temperature)
    return (1 - sharpness) * likelihood + sharpness * expected_nll(gate_NK, logits_NKC, target_NC, temperature)
