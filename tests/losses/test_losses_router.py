"""Losses of gates: values worked by hand, limits, gradients."""

from math import log

import pytest
import torch
from torch.autograd import gradcheck

from moist.losses import importance_loss, load_balancing_loss, load_loss, router_z_loss


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_load_balancing_worked_by_hand():
    # P = (0.625, 0.375); both examples go to expert 0, f = (1, 0): 2 · 0.625
    probs = torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    assert load_balancing_loss(probs, torch.tensor([[0], [0]])).item() == pytest.approx(1.25)


@pytest.mark.parametrize("top_k", [1, 2])
def test_load_balancing_is_one_when_uniform(top_k):
    chosen = torch.stack([torch.arange(8) % 4, (torch.arange(8) + 1) % 4], dim=1)[:, :top_k]
    assert load_balancing_loss(torch.full((8, 4), 0.25), chosen).item() == pytest.approx(1)


def test_load_balancing_is_the_number_of_experts_when_collapsed():
    probs = torch.eye(4)[torch.zeros(8, dtype=torch.int64)]
    assert load_balancing_loss(probs, torch.zeros(8, 1, dtype=torch.int64)).item() == pytest.approx(4)


def test_load_balancing_counts_experts_that_nobody_chose():
    # Only expert 0 is ever chosen: the other three still count as experts
    assert load_balancing_loss(torch.full((8, 4), 0.25), torch.zeros(8, 1, dtype=torch.int64)).item() == 1


def test_load_balancing_gradient():
    logits = random(6, 4).requires_grad_()
    chosen = logits.detach().argmax(1, keepdim=True)
    assert gradcheck(lambda x: load_balancing_loss(x.softmax(1), chosen), logits)


@pytest.mark.parametrize("loss", [importance_loss, load_loss])
def test_squared_variation_worked_by_hand(loss):
    # Sums (3, 1): variance 1, mean 2, so (1 / 2)²
    assert loss(torch.tensor([[1.0, 0.5], [2.0, 0.5]])).item() == pytest.approx(0.25)


@pytest.mark.parametrize("loss", [importance_loss, load_loss])
def test_squared_variation_limits(loss):
    assert loss(torch.full((8, 4), 0.25)).item() == pytest.approx(0)
    # All weight on one of E: mean 1 / E, variance (1 / E)(1 - 1 / E) of the total, so E - 1
    assert loss(torch.eye(4)[:1]).item() == pytest.approx(3)
    assert loss(torch.zeros(8, 4)).item() == 0


@pytest.mark.parametrize("loss", [importance_loss, load_loss])
def test_squared_variation_gradient(loss):
    assert gradcheck(lambda x: loss(x.softmax(1)), random(6, 4).requires_grad_())


def test_router_z_worked_by_hand():
    # (log 2)² and (log 4)² = 4 (log 2)²: mean 2.5 (log 2)²
    logits = torch.tensor([[0.0, 0.0], [log(2), log(2)]])
    assert router_z_loss(logits).item() == pytest.approx(2.5 * log(2) ** 2)


def test_router_z_of_normalised_logits_is_zero():
    assert router_z_loss(random(6, 4).log_softmax(1)).item() == pytest.approx(0, abs=1e-20)


def test_router_z_gradient():
    assert gradcheck(router_z_loss, random(6, 4).requires_grad_())
