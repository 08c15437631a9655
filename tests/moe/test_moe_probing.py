"""One expert serves everything, and afterwards the layer is what it was."""

import pytest
import torch

from moist.moe import MoELayer, mlp_expert, only_expert
from moist.routing import LinearGate, SwitchRouter, TopKRouter

ROWS = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))


def layer_of(router):
    torch.manual_seed(0)
    return MoELayer(router, [mlp_expert(4, 6) for _ in range(3)], capacity_factor=1.0).eval()


def test_renormalised_weights_give_the_expert_itself():
    layer = layer_of(TopKRouter(LinearGate(4, 3), 2, "renormalize"))
    before = layer(ROWS)[0]
    with only_expert(layer, 1):
        torch.testing.assert_close(layer(ROWS)[0], layer.experts.members[1](ROWS))
    assert torch.equal(layer(ROWS)[0], before)


def test_the_whole_weight_goes_to_the_expert():
    layer = layer_of(SwitchRouter(LinearGate(4, 3)))
    weight = layer.router(ROWS).expert_weights
    with only_expert(layer, 2):
        torch.testing.assert_close(layer(ROWS)[0], weight * layer.experts.members[2](ROWS))


def test_the_layer_is_restored_after_an_error():
    layer = layer_of(SwitchRouter(LinearGate(4, 3)))
    router = layer.router
    with pytest.raises(RuntimeError), only_expert(layer, 0):
        raise RuntimeError
    assert layer.router is router
    assert layer.capacity_factor == 1.0
