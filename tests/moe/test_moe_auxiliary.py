"""The losses of a router from its routing: each weight, and which choices count."""

from math import log

import pytest
import torch

from moist.moe import SparseSettings, router_loss
from moist.types import Routing


def settings(router="top-k", top_k=2, **balance):
    return SparseSettings(num_experts=2, top_k=top_k, router=router, balance={"load_balancing": 0.0, **balance})


# Two rows, probabilities (3/4, 1/4) and (1/2, 1/2)
LOGITS = torch.tensor([[log(3), 0.0], [0.0, 0.0]])
ROUTING = Routing(LOGITS, torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0.75, 0.25], [0.5, 0.5]]))


def test_no_weight_no_loss():
    assert router_loss(ROUTING, settings()).item() == 0


def test_balance_is_on_by_default():
    assert SparseSettings().balance.load_balancing == 0.01


def test_all_choices_count():
    # Both experts get half of the choices: 2 · (1/2 · 5/8 + 1/2 · 3/8) = 1
    assert router_loss(ROUTING, settings(load_balancing=1.0)).item() == pytest.approx(1)


def test_of_gshard_first_choices_count():
    # All first choices are expert 0: 2 · 5/8
    assert router_loss(ROUTING, settings("gshard", load_balancing=1.0)).item() == pytest.approx(1.25)


@pytest.mark.parametrize("router", ["expert-choice", "soft", "bias-balanced"])
def test_routers_that_balance_themselves_get_no_balancing_loss(router):
    assert router_loss(ROUTING, settings(router, load_balancing=1.0)).item() == 0


def test_importance_worked_by_hand():
    # Sums (1.25, 0.75): variance 1/16, mean 1
    assert router_loss(ROUTING, settings(importance=2.0)).item() == pytest.approx(2 / 16)


def test_load_worked_by_hand():
    # Sums (3, 1): (1 / 2)²
    noisy = Routing(*(getattr(ROUTING, name) for name in ("logits", "expert_indices", "expert_weights")))
    noisy = Routing(
        noisy.logits, noisy.expert_indices, noisy.expert_weights, load=torch.tensor([[1.0, 0.5], [2.0, 0.5]])
    )
    assert router_loss(noisy, settings("noisy-top-k", load=1.0)).item() == pytest.approx(0.25)


def test_z_worked_by_hand():
    # (log 4)² and (log 2)²
    expected = (log(4) ** 2 + log(2) ** 2) / 2
    assert router_loss(ROUTING, settings(z=1.0)).item() == pytest.approx(expected)
