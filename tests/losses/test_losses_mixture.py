"""Losses of several models behind one gate: values worked by hand, limits, gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp
from torch.autograd import gradcheck

from moist.losses import expected_nll, mixture_log_probs, mixture_nll, mutual_distillation_loss, soft_cross_entropy


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Gate (3/4, 1/4); members (0.8, 0.2) and (0.4, 0.6): the mixture says 0.6 + 0.1 = 0.7 and 0.15 + 0.15 = 0.3.
GATE = torch.tensor([[0.75, 0.25]], dtype=torch.float64).log()
MEMBERS = torch.tensor([[[0.8, 0.2], [0.4, 0.6]]], dtype=torch.float64).log()
FIRST = torch.tensor([[1.0, 0.0]], dtype=torch.float64)


def test_mixture_log_probs_worked_by_hand():
    expected = torch.tensor([[0.7, 0.3]], dtype=torch.float64)
    torch.testing.assert_close(mixture_log_probs(GATE, MEMBERS).exp(), expected)


def test_mixture_log_probs_sum_to_one_and_stay_finite_far_from_zero():
    log_probs = mixture_log_probs(1000 * random(6, 3), 1000 * random(6, 3, 4), temperature=2)
    assert log_probs.isfinite().all()
    torch.testing.assert_close(log_probs.logsumexp(1), torch.zeros(6, dtype=torch.float64))


def test_mixture_log_probs_gradient():
    assert gradcheck(mixture_log_probs, (random(4, 3).requires_grad_(), random(4, 3, 5, seed=1).requires_grad_()))


def test_mixture_nll_worked_by_hand():
    # -log 0.7
    assert mixture_nll(GATE, MEMBERS, FIRST).item() == pytest.approx(0.356675, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_mixture_nll_against_scipy(temperature):
    gate, members, target = random(6, 3), random(6, 3, 4, seed=1), random(6, 4, seed=2).softmax(1)
    log_gate = log_softmax(gate.numpy(), axis=1)
    log_members = log_softmax(members.numpy() / temperature, axis=2)
    log_mixture = logsumexp(log_gate[:, :, None] + log_members, axis=1)
    expected = -(temperature**2) * (target.numpy() * log_mixture).sum(axis=1).mean()
    assert mixture_nll(gate, members, target, temperature).item() == pytest.approx(expected)


def test_mixture_nll_of_equal_members_is_one_members():
    one = random(6, 1, 4)
    target = random(6, 4, seed=2).softmax(1)
    alone = soft_cross_entropy(one[:, 0].log_softmax(1), target)
    torch.testing.assert_close(mixture_nll(random(6, 3), one.expand(6, 3, 4), target), alone)


def test_mixture_nll_gradient():
    target = random(4, 5, seed=2).softmax(1)
    inputs = (random(4, 3).requires_grad_(), random(4, 3, 5, seed=1).requires_grad_())
    assert gradcheck(lambda gate, members: mixture_nll(gate, members, target, 2.0), inputs)


def test_expected_nll_worked_by_hand():
    # 0.75 · -log 0.8 + 0.25 · -log 0.4 = 0.167358 + 0.229073
    assert expected_nll(GATE, MEMBERS, FIRST).item() == pytest.approx(0.396431, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), members=st.integers(1, 5), scale=st.sampled_from([0.1, 1.0, 10.0]))
def test_expected_nll_is_never_below_mixture_nll(seed, members, scale):
    gate, logits = scale * random(4, members, seed=seed), scale * random(4, members, 3, seed=seed + 1)
    target = random(4, 3, seed=seed + 2).softmax(1)
    assert expected_nll(gate, logits, target) >= mixture_nll(gate, logits, target) - 1e-9


def test_expected_nll_of_a_gate_that_decides_equals_mixture_nll():
    gate = 1e4 * torch.eye(3, dtype=torch.float64)[[0, 2, 1, 1]]
    logits, target = random(4, 3, 5), random(4, 5, seed=1).softmax(1)
    torch.testing.assert_close(expected_nll(gate, logits, target, 2.0), mixture_nll(gate, logits, target, 2.0))


def test_expected_nll_gradient():
    target = random(4, 5, seed=2).softmax(1)
    inputs = (random(4, 3).requires_grad_(), random(4, 3, 5, seed=1).requires_grad_())
    assert gradcheck(lambda gate, members: expected_nll(gate, members, target, 2.0), inputs)


def test_mutual_distillation_of_three_worked_by_hand():
    # 0, 3, 6: mean 3, squared distances 9, 0, 9, mean 6
    assert mutual_distillation_loss(torch.tensor([0.0, 3.0, 6.0]).view(3, 1, 1)).item() == pytest.approx(6)


def test_mutual_distillation_of_two_is_their_squared_difference():
    assert mutual_distillation_loss(torch.tensor([0.0, 2.0]).view(2, 1, 1)).item() == pytest.approx(4)


def test_mutual_distillation_by_divergence_worked_by_hand():
    # (3/4, 1/4) and (1/4, 3/4), average (1/2, 1/2): 0.5 log(0.5 / 0.75) + 0.5 log(0.5 / 0.25) = 0.143841 for each
    outputs = torch.tensor([[[0.75, 0.25]], [[0.25, 0.75]]]).log()
    assert mutual_distillation_loss(outputs, "kl").item() == pytest.approx(0.143841, abs=1e-6)


@pytest.mark.parametrize("form", ["squared", "kl"])
def test_mutual_distillation_of_equal_experts_is_zero(form):
    assert mutual_distillation_loss(random(1, 4, 3).expand(3, 4, 3), form).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("form", ["squared", "kl"])
@pytest.mark.parametrize("experts", [2, 3])
def test_mutual_distillation_gradient(form, experts):
    assert gradcheck(lambda outputs: mutual_distillation_loss(outputs, form), random(experts, 4, 3).requires_grad_())


def test_mutual_distillation_refuses_one_expert_and_unknown_forms():
    with pytest.raises(ValueError, match="at least 2 experts, got 1"):
        mutual_distillation_loss(random(1, 4, 3))
    with pytest.raises(ValueError, match="'squared' or 'kl', got 'cosine'"):
        mutual_distillation_loss(random(2, 4, 3), "cosine")


def test_losses_take_float32_as_it_comes():
    value = mixture_nll(GATE.float(), MEMBERS.float(), FIRST.float())
    assert value.dtype == torch.float32
    assert np.isclose(value.item(), 0.356675, atol=1e-6)
