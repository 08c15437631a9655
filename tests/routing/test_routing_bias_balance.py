"""Loss-free balance: the shared contract, the bias worked by hand, and a skewed gate that evens out."""

import pytest
import torch
from router_contract import NUM_EXPERTS, RouterContract

from moist.routing import BiasBalancedRouter, expert_load


class TestBiasBalancedRouter(RouterContract):
    combines = ("renormalize", "probability")

    @staticmethod
    def probs(logits):
        return logits.sigmoid()

    def make_router(self, gate, top_k, combine):
        return BiasBalancedRouter(gate, NUM_EXPERTS, top_k, combine=combine)


def test_the_bias_moves_the_choice_and_not_the_weight():
    # Scores (0.8, 0.6, 0.5); with biases (-0.3, 0, 0) the sums are (0.5, 0.6, 0.5): the second is chosen, weight 0.6
    router = BiasBalancedRouter(torch.nn.Identity(), 3, top_k=1)
    router.bias_E[0] = -0.3
    routing = router(torch.tensor([[0.8, 0.6, 0.5]]).logit())
    assert routing.expert_indices.tolist() == [[1]]
    assert routing.expert_weights.item() == pytest.approx(0.6)


def test_the_bias_worked_by_hand():
    # Counts (3, 1, 0, 0) of four choices, mean 1: down, as it is, up, up
    router = BiasBalancedRouter(torch.nn.Identity(), 4, top_k=1, rate=0.01)
    routing = router(torch.eye(4)[[0, 0, 0, 1]])
    router.rebalance(routing)
    torch.testing.assert_close(router.bias_E, torch.tensor([-0.01, 0.0, 0.01, 0.01]))


def test_a_skewed_gate_evens_out():
    torch.manual_seed(0)
    logits = torch.randn(512, 4) + torch.tensor([2.0, 0.0, 0.0, 0.0])
    router = BiasBalancedRouter(torch.nn.Identity(), 4, top_k=1, rate=0.01)
    before = expert_load(router(logits)).max()
    for _ in range(100):
        router.rebalance(router(logits))
    after = expert_load(router(logits)).max()
    assert before > 0.6
    assert after < 0.3


def test_routing_alone_changes_nothing():
    router = BiasBalancedRouter(torch.nn.Identity(), 4, top_k=1).train()
    router(torch.randn(8, 4))
    assert not router.bias_E.any()
