"""A generalist and the specialists that it calls: Hinton, Vinyals and Dean's ensemble for very many classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from moist.mixture.agreement import agree
from moist.mixture.model import MixtureOfSpecialists, Prediction, Specialists
from moist.types import Routing

__all__ = ["CoverageGate", "SpecialistEnsemble"]

UNHEARD = 1e6  # taken from the scores of specialists that are not heard, so that they come last


class CoverageGate(nn.Module):
    """The generalist, and which classes each specialist knows.

    Args:
        generalist: module from inputs to logits (N, C).
        sets_MS: (M, S) int64 classes of each specialist.
        correction_M: (M,) added to each specialist's dustbin logit: the logarithm of how much rarer the classes outside
            its set were in its training data than they are, or what :func:`moist.mixture.fit_dustbins` makes of it.

    Its scores (N, M) are the logarithm of the generalist's probability that the class is one of the specialist's.
    """

    sets: Tensor
    correction: Tensor

    def __init__(self, generalist: nn.Module, sets_MS: Tensor, correction_M: Tensor | None = None) -> None:
        super().__init__()
        self.generalist = generalist
        self.register_buffer("sets", sets_MS.clone())
        self.register_buffer("correction", torch.zeros(len(sets_MS)) if correction_M is None else correction_M.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the scores (N, M)."""
        return self.scores(self.generalist(inputs))

    def scores(self, logits_NC: Tensor) -> Tensor:
        """Return the scores (N, M) that follow from the generalist's logits (N, C)."""
        return logits_NC.log_softmax(dim=1)[:, self.sets].logsumexp(dim=2)

    def covers(self, logits_NC: Tensor, top_n: int) -> Tensor:
        """Return (N, M) bool: whether one of the generalist's ``top_n`` classes is among the specialist's."""
        best_Nn = logits_NC.topk(min(top_n, logits_NC.shape[1]), dim=1).indices
        return (best_Nn[:, :, None, None] == self.sets).any(dim=3).any(dim=1)


class SpecialistEnsemble(MixtureOfSpecialists):
    """A generalist answers, and the specialists that know its best guess are heard with it.

    Each specialist tells its own S classes apart and has one more output, the dustbin, for all others. The answer is
    the distribution nearest to what the generalist and the specialists heard say (:func:`moist.mixture.agree`); where
    no specialist knows the guess it is the generalist's own. Sets may overlap.

    It is used, saved and loaded as any mixture; ``num_domains`` is M, and a prediction's ``routing`` names specialists
    heard by falling probability that the class is theirs, then the others; weights are 1 for those heard, else 0.

    Args:
        gate: generalist, sets and corrections.
        specialists: M modules from inputs to logits (N, S + 1), the dustbin's last.
        top_n: how many of the generalist's best classes call specialists.
        **known: as :class:`MixtureOfSpecialists`: ``inference``, ``classes``, ``transform``, ``schema``.

    Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 5.
    """

    gate: CoverageGate

    def __init__(self, gate: CoverageGate, specialists: Specialists, *, top_n: int = 1, **known: Any) -> None:
        super().__init__(nn.Identity(), gate, specialists, **known)
        self.top_n = top_n

    def route(self, inputs: Tensor) -> Routing:
        """Return which specialists are heard on each input, without running them."""
        logits = self.gate.generalist(inputs)
        return self._routing(logits, self.gate.covers(logits, self.top_n))

    def _routing(self, logits_NC: Tensor, covers_NM: Tensor) -> Routing:
        scores_NM = self.gate.scores(logits_NC)
        order_NM = torch.where(covers_NM, scores_NM, scores_NM - UNHEARD).argsort(dim=1, descending=True, stable=True)
        return Routing(scores_NM, order_NM, covers_NM.gather(1, order_NM).to(logits_NC.dtype))

    def forward(self, inputs: Tensor) -> Prediction:
        """Answer a batch of inputs (N, ...): the generalist first, then only the specialists that it calls."""
        logits = self.gate.generalist(inputs)
        covers = self.gate.covers(logits, self.top_n)
        special, dustbin = self.said(self.ask(inputs, covers), self.gate.correction)
        answer = agree(logits.float().softmax(dim=1), special, dustbin, self.gate.sets, covers)
        return self._defer(inputs, answer, self._routing(logits, covers))

    def ask(self, inputs: Tensor, covers_NM: Tensor) -> Tensor:
        """Run each specialist on the inputs (N, ...) that it covers: logits (N, M, S + 1), 0 where it does not."""
        num_inputs, num_specialists = covers_NM.shape
        raw_NMS = torch.zeros(num_inputs, num_specialists, self.gate.sets.shape[1] + 1, device=covers_NM.device)
        for m in range(num_specialists):
            rows = covers_NM[:, m].nonzero()[:, 0]
            if len(rows):
                raw_NMS[rows, m] = self.specialists[m](inputs[rows]).float()
        return raw_NMS

    @staticmethod
    def said(raw_NMS: Tensor, correction_M: Tensor) -> tuple[Tensor, Tensor]:
        """Return specialists' probabilities of their classes (N, M, S) and the dustbin (N, M), its logits corrected."""
        corrected = torch.cat([raw_NMS[..., :-1], raw_NMS[..., -1:] + correction_M[:, None]], dim=-1)
        probs_NMS = corrected.softmax(dim=-1)
        return probs_NMS[..., :-1], probs_NMS[..., -1]

    def forward_all(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (N, M), and log-probabilities (N, M, C) of the answer with each specialist alone heard."""
        logits = self.gate.generalist(inputs)
        everyone = torch.ones(len(inputs), self.num_domains, dtype=torch.bool, device=logits.device)
        special, dustbin = self.said(self.ask(inputs, everyone), self.gate.correction)
        general = logits.float().softmax(dim=1)
        alone = torch.eye(self.num_domains, dtype=torch.bool, device=logits.device)
        answers = [
            agree(general, special, dustbin, self.gate.sets, alone[m].expand(len(inputs), -1))
            for m in range(self.num_domains)
        ]
        tiny = torch.finfo(general.dtype).tiny
        return self.gate.scores(logits), torch.stack(answers, dim=1).clamp(min=tiny).log()
