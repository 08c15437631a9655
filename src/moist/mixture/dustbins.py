"""How loudly a specialist may say that an input is none of its own, fitted on examples that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from moist.mixture.agreement import agree
from moist.mixture.ensemble import SpecialistEnsemble
from moist.progress import say

__all__ = ["fit_dustbins"]

MAX_ITERATIONS = 40
MAX_STEPS = 20  # of the agreement, through each of which gradients go
RIDGE = 1e-4  # holds the correction of a specialist that is never heard


def fit_dustbins(ensemble: SpecialistEnsemble, batches: Iterable[Tensor], target_N: Tensor) -> Tensor:
    """Return the corrections (M,) of the dustbins' logits under which the ensemble's answers are most likely right.

    The paper adds the logarithm of how much rarer other classes were in training. That is right for specialists whose
    doubt is calibrated. Those that have fitted their training rows doubt new ones too much, so that their dustbins take
    a multiple of what they should. The corrections are fitted together, by L-BFGS on the negative log-likelihood of the
    ensemble's own answers, from the ensemble's present ones on; nothing else changes. A fit that comes to values that
    are not finite, as of specialists whose logits are not, is told of and thrown away: the present ones stay.

    Args:
        ensemble: in evaluation mode; it stays as it is.
        batches: inputs (n, ...) as the ensemble reads them, N in all, that none of its members was trained on.
        target_N: (N,) int64 their classes.

    Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 5.2, with our deviation as above.
    """
    general_NC, raw_NMS, covers_NM = _ask_all(ensemble, batches)
    start_M = ensemble.gate.correction.clone()
    correction_M = start_M.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([correction_M], lr=0.5, max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        special, dustbin = ensemble.said(raw_NMS, correction_M)
        answer = agree(general_NC, special, dustbin, ensemble.gate.sets, covers_NM, max_steps=MAX_STEPS)
        likely = answer.clamp(min=torch.finfo(answer.dtype).tiny).log()
        loss = F.nll_loss(likely, target_N) + RIDGE * (correction_M - start_M).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    fitted_M = correction_M.detach()
    if not bool(fitted_M.isfinite().all()):
        say(
            "Warning: the corrections of the dustbins came out as values that are not finite, so they stay as they "
            "were; check that the members' logits are finite"
        )
        return start_M
    return fitted_M


@torch.no_grad()
def _ask_all(ensemble: SpecialistEnsemble, batches: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the generalist's probabilities (N, C), logits (N, M, S + 1) of those heard, and who is heard (N, M)."""
    parts = []
    for inputs in batches:
        logits = ensemble.gate.generalist(inputs)
        covers = ensemble.gate.covers(logits, ensemble.top_n)
        parts.append((logits.float().softmax(dim=1), ensemble.ask(inputs, covers), covers))
    general, raw, covers = (torch.cat(column) for column in zip(*parts))
    return general, raw, covers
