"""The dustbins' corrections: right where nothing is wrong, found where dustbins take too much, best for the answer."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from moist.mixture import CoverageGate, SpecialistEnsemble, fit_dustbins

SETS = torch.tensor([[0, 1, 2], [2, 3, 4]])


class Doubting(nn.Module):
    """Says of a class what the world's own probabilities say, and of its dustbin ``too_much`` in logits more."""

    def __init__(self, world, classes, too_much):
        super().__init__()
        outside = [k for k in range(world.shape[1]) if k not in classes.tolist()]
        logits = world.log()
        self.table = torch.cat([logits[:, classes], logits[:, outside].logsumexp(1, keepdim=True) + too_much], dim=1)

    def forward(self, inputs):
        return self.table[inputs[:, 0].long()]


class General(nn.Module):
    def __init__(self, world):
        super().__init__()
        self.table = world.log()

    def forward(self, inputs):
        return self.table[inputs[:, 0].long()]


def made(too_much, n=4000):
    """Return an ensemble that is right but for its dustbins, inputs, and classes drawn from the true probabilities."""
    random = torch.Generator().manual_seed(0)
    world = torch.randn(n, 6, generator=random).mul(2).softmax(dim=1)
    target = torch.multinomial(world, 1, generator=random)[:, 0]
    members = nn.ModuleList(Doubting(world, classes, extra) for classes, extra in zip(SETS, too_much))
    ensemble = SpecialistEnsemble(CoverageGate(General(world), SETS), members, top_n=6).eval()
    return ensemble, torch.arange(float(n))[:, None], target


@pytest.mark.parametrize("too_much", [(0.0, 0.0), (3.0, 1.0)])
def test_the_correction_undoes_what_the_dustbins_say_too_much(too_much):
    ensemble, inputs, target = made(too_much)
    correction = fit_dustbins(ensemble, inputs.split(1000), target)
    torch.testing.assert_close(correction, -torch.tensor(too_much), atol=0.4, rtol=0)
    assert torch.equal(ensemble.gate.correction, torch.zeros(2))  # the ensemble stays as it is


def test_no_other_correction_nearby_makes_the_answers_likelier():
    ensemble, inputs, target = made((2.0, -1.0), n=1000)
    correction = fit_dustbins(ensemble, [inputs], target)

    def loss(values):
        ensemble.gate.correction.copy_(values)
        return float(F.nll_loss(ensemble(inputs).probabilities.log(), target))

    best = loss(correction)
    for m in range(2):
        for step in (-0.2, 0.2):
            assert best < loss(correction + step * F.one_hot(torch.tensor(m), 2))


def test_a_specialist_that_is_never_heard_keeps_its_correction():
    ensemble, inputs, target = made((1.0, 1.0), n=500)
    ensemble.gate.correction.copy_(torch.tensor([0.5, 0.7]))
    ensemble.gate.covers = lambda logits, top_n: torch.tensor([True, False]).expand(len(logits), -1)
    correction = fit_dustbins(ensemble, [inputs], target)
    assert correction[1] == pytest.approx(0.7)
    assert correction[0] < 0.3


def test_a_fit_that_is_not_finite_is_told_of_and_thrown_away(capsys):
    ensemble, inputs, target = made((0.0, 0.0), n=500)
    start = torch.tensor([0.5, 0.7])
    ensemble.gate.correction.copy_(start)
    ensemble.specialists[0].table[7] = torch.nan
    assert torch.equal(fit_dustbins(ensemble, [inputs], target), start)
    assert "Warning: the corrections of the dustbins came out as values that are not finite" in capsys.readouterr().err
    ensemble.specialists[0].table[7] = 0
    fit_dustbins(ensemble, [inputs], target)
    assert capsys.readouterr().err == ""
