"""The router of Switch: the shared contract, and its weight."""

import torch
from router_contract import RouterContract

from moist.routing import LinearGate, SwitchRouter
from moist.routing.gate import PART


class TestSwitchRouter(RouterContract):
    combines = ("probability",)
    top_ks = (1,)
    checks_top_k = False

    def make_router(self, gate, top_k, combine):
        return SwitchRouter(gate)


def test_the_weight_is_the_probability():
    # Probabilities (1/2, 1/8, 3/8)
    router = SwitchRouter(torch.nn.Identity())
    routing = router(torch.tensor([[4.0, 1.0, 3.0]]).log())
    assert routing.expert_indices.tolist() == [[0]]
    torch.testing.assert_close(routing.expert_weights, torch.tensor([[0.5]]))


def test_the_gate_stays_in_float32_under_autocast():
    gate = LinearGate(8, 3)
    inputs = torch.randn(4, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        scores = gate(inputs)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, inputs.float() @ gate.weight.T)


def test_rows_in_half_precision_are_scored_in_parts_as_at_once():
    torch.manual_seed(0)
    gate = LinearGate(8, 3)
    many = torch.randn(2 * PART + 5, 8).bfloat16().requires_grad_()
    scores = gate(many)
    assert scores.dtype == torch.float32
    by_row = torch.cat([gate(few) for few in many.split(PART)])  # too few to be parted
    torch.testing.assert_close(scores, by_row)
    change = torch.randn(len(many), 3)
    ours, theirs = (torch.autograd.grad(each, (many, gate.weight), change) for each in (scores, by_row))
    torch.testing.assert_close(ours, theirs)


def test_the_scale_sets_the_gates_first_variance():
    torch.manual_seed(0)
    small, large = (LinearGate(64, 512, scale=scale).weight for scale in (0.1, 1.0))
    assert 8 < large.var() / small.var() < 12
    # A normal cut at two deviations has 0.774 of its variance
    assert abs(small.var().item() - 0.774 * 0.1 / 64) < 1e-4
    assert not LinearGate(64, 4, scale=0.0).weight.any()


def test_jitter_is_for_training_alone():
    gate = LinearGate(8, 3, jitter=0.1)
    inputs = torch.ones(4, 8)
    assert torch.equal(gate.eval()(inputs)[0], gate(inputs)[1])
    assert not torch.equal(gate.train()(inputs)[0], gate(inputs)[1])


def test_feature_maps_are_averaged():
    gate = LinearGate(3, 2)
    maps = torch.randn(5, 3, 4, 4)
    torch.testing.assert_close(gate(maps), gate(maps.mean(dim=(2, 3))))
