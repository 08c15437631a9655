"""The top-k router: the shared contract, and values worked by hand."""

import pytest
import torch
from router_contract import RouterContract

from moist.routing import TopKRouter, select_top_k


class TestTopKRouter(RouterContract):
    def make_router(self, gate, top_k, combine):
        return TopKRouter(gate, top_k, combine)


# Probabilities (1/2, 1/8, 3/8)
LOGITS = torch.tensor([[4.0, 1.0, 3.0]]).log()


@pytest.mark.parametrize(
    ("combine", "weights"),
    [
        ("renormalize", [4 / 7, 3 / 7]),  # 1/2 and 3/8 over their sum 7/8
        ("probability", [1 / 2, 3 / 8]),
        ("select", [1 / 2, 1 / 2]),
    ],
)
def test_weights_worked_by_hand(combine, weights):
    routing = select_top_k(LOGITS, 2, combine)
    assert routing.expert_indices.tolist() == [[0, 2]]
    torch.testing.assert_close(routing.expert_weights, torch.tensor([weights]))


def test_experts_far_from_the_best_keep_their_order():
    # In float32 exp(-150) and exp(-300) are both 0: only the logits tell which is the second best.
    routing = select_top_k(torch.tensor([[-300.0, 0.0, -150.0]]), 2)
    assert routing.expert_indices.tolist() == [[1, 2]]
    assert routing.expert_weights.tolist() == [[1.0, 0.0]]


def test_the_routing_keeps_all_scores():
    assert torch.equal(select_top_k(LOGITS, 1).logits, LOGITS)
