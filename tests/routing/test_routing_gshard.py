"""The router of GShard: the shared contract, and the second expert by chance."""

import torch
from router_contract import RouterContract

from moist.routing import GShardRouter


class TestGShardRouter(RouterContract):
    combines = ("renormalize",)
    top_ks = (2,)
    checks_top_k = False

    def make_router(self, gate, top_k, combine):
        return GShardRouter(gate)


def second_kept(odds, rows=4000):
    """Return how often the second of two experts is kept where the first has ``odds`` times its probability."""
    torch.manual_seed(0)
    logits = torch.tensor([[odds, 1.0]]).log().expand(rows, 2)
    return GShardRouter(torch.nn.Identity()).train()(logits).kept.double().mean(dim=0).tolist()


def test_the_second_is_kept_with_twice_its_weight():
    # Odds 9 : 1 give g_2 = 0.1, kept with probability 0.2; the first always
    first, second = second_kept(9.0)
    assert first == 1
    assert abs(second - 0.2) < 0.03


def test_an_equal_second_is_always_kept():
    assert second_kept(1.0) == [1, 1]


def test_evaluation_keeps_both():
    assert GShardRouter(torch.nn.Identity()).eval()(torch.tensor([[9.0, 0.0]])).kept is None
