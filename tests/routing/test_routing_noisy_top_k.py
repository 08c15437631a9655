"""The noisy router: the shared contract, the smooth load worked by hand, and what the noise does."""

import pytest
import torch
from router_contract import NUM_EXPERTS, WIDTH, RouterContract
from torch import nn

from moist.losses import importance_loss, load_loss
from moist.routing import LinearGate, NoisyTopKRouter, gate_weights, smooth_load


class TestNoisyTopKRouter(RouterContract):
    combines = ("renormalize",)

    def make_router(self, gate, top_k, combine):
        return NoisyTopKRouter(gate, nn.Linear(WIDTH, NUM_EXPERTS), top_k)


def test_smooth_load_worked_by_hand():
    # Clean (1, 0, -1), drawn (0.5, 0, 2), k = 1: the drawn third was chosen. To stay it must beat 0.5, for which it
    # lies 1.5 deviations too low; the others must beat 2: the first lies 1 too low, the second 2, of deviation 1
    clean, noisy = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[0.5, 0.0, 2.0]])
    load = smooth_load(clean, noisy, torch.ones(1, 3), top_k=1)
    expected = torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor([[-1.0, -2.0, -1.5]]))
    torch.testing.assert_close(load, expected)


def test_smooth_load_is_how_often_an_expert_is_chosen():
    torch.manual_seed(0)
    clean, scale = torch.randn(1, 5), torch.rand(1, 5) + 0.5
    noisy = clean + scale * torch.randn(1, 5)
    drawn = noisy.repeat(20000, 1)
    drawn[:, 2] = clean[:, 2] + scale[:, 2] * torch.randn(20000)
    often = (drawn.topk(2).indices == 2).any(dim=1).double().mean().item()
    assert smooth_load(clean, noisy, scale, 2)[0, 2].item() == pytest.approx(often, abs=0.02)


def test_all_experts_stay_with_certainty():
    assert torch.equal(smooth_load(torch.randn(2, 3), torch.randn(2, 3), torch.ones(2, 3), 3), torch.ones(2, 3))


def test_gates_that_start_at_zero_learn_balance_through_the_load():
    torch.manual_seed(0)
    router = NoisyTopKRouter(LinearGate(6, 4, scale=0.0), LinearGate(6, 4, scale=0.0), 2).train()
    routing = router(torch.randn(32, 6))
    assert routing.load.shape == (32, 4)
    (load_loss(routing.load) + importance_loss(gate_weights(routing))).backward()
    assert router.gate.weight.grad.abs().max() > 0
    assert router.noise.weight.grad.abs().max() > 0


def test_noise_is_for_training_alone():
    torch.manual_seed(0)
    gate = nn.Linear(6, 4)
    router = NoisyTopKRouter(gate, nn.Linear(6, 4), 2).eval()
    inputs = torch.randn(8, 6)
    assert torch.equal(router(inputs).logits, gate(inputs))
    assert router(inputs).load is None
    assert not torch.equal(router.train()(inputs).logits, gate(inputs))
