"""Gathers that look at data: scores worked by hand, and the closed form against what it must reach."""

import pytest
import torch
from test_integration_gather import FIRST, random_expert

from moist.integration import activation_scores, gather_least_squares, taylor_scores
from moist.types import UserError


def rows(count=200, dim=5, seed=7):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_activation_scores_worked_by_hand():
    # Inputs 1 and -1: hidden relu(3x + 1, x + 2) = (4, 3) and (0, 1); means (2, 2) times |down| (4, 0)
    inputs = torch.tensor([[1.0], [-1.0]])
    assert activation_scores(FIRST, inputs, torch.relu).tolist() == [8.0, 0.0]
    # Chosen for the first input alone, with weight 1/2: mean (4 · 1/2 + 0) / 2 = 1
    assert activation_scores(FIRST, inputs, torch.relu, torch.tensor([0.5, 0.0])).tolist() == [4.0, 0.0]


def test_taylor_scores_worked_by_hand():
    # Gradients 1 and 3 at the output: times down (4, 0) at the hidden units (4, 0), (12, 0); times (4, 3), (0, 1)
    inputs, grads = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [3.0]])
    assert taylor_scores(FIRST, inputs, grads, torch.relu).tolist() == [8.0, 0.0]


def test_taylor_scores_are_the_change_of_a_linear_loss():
    expert, inputs = random_expert(0), rows(1)
    grads = rows(1, seed=8)
    whole = (expert(inputs, torch.tanh) * grads).sum()
    hidden = expert.hidden(inputs, torch.tanh)
    for unit in range(4):
        without = hidden.clone()
        without[:, unit] = 0
        change = whole - ((without @ expert.down.T + expert.down_bias) * grads).sum()
        assert taylor_scores(expert, inputs, grads, torch.tanh)[unit].item() == pytest.approx(abs(change.item()))


def weights(count, num_experts, seed=9):
    return torch.rand(count, num_experts, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_one_expert_always_chosen_is_found_again(gated, bias):
    expert, inputs = random_expert(0, gated=gated, bias=bias), rows()
    layer = gather_least_squares([expert], inputs, torch.ones(200, 1, dtype=torch.float64), torch.tanh)
    torch.testing.assert_close(layer(inputs, torch.tanh), expert(inputs, torch.tanh))


def test_all_units_under_a_constant_gate_give_the_layer_itself():
    experts, inputs = [random_expert(seed) for seed in (0, 1)], rows()
    gate = torch.tensor([0.3, 0.7], dtype=torch.float64).expand(200, 2)
    layer = gather_least_squares(experts, inputs, gate, torch.tanh, width=8)
    expected = 0.3 * experts[0](inputs, torch.tanh) + 0.7 * experts[1](inputs, torch.tanh)
    torch.testing.assert_close(layer(inputs, torch.tanh), expected)


def error(layer, experts, inputs, gate):
    expected = sum(gate[:, e, None] * expert(inputs, torch.tanh) for e, expert in enumerate(experts))
    return (layer(inputs, torch.tanh) - expected).square().mean().item()


def test_the_fit_lowers_the_error_and_less_ridge_lowers_it_further():
    experts, inputs, gate = [random_expert(seed) for seed in (0, 1)], rows(), weights(200, 2)
    stiff, loose, free = (
        gather_least_squares(experts, inputs, gate, torch.tanh, ridge=ridge) for ridge in (1e9, 1e-1, 1e-9)
    )
    errors = [error(layer, experts, inputs, gate) for layer in (stiff, loose, free)]
    assert errors[0] > 1.1 * errors[1]
    assert errors[1] > errors[2]


def test_the_solution_is_where_the_gradient_vanishes():
    experts, inputs, gate, ridge = [random_expert(seed) for seed in (0, 1)], rows(), weights(200, 2), 0.1
    start = gather_least_squares(experts, inputs, gate, torch.tanh, ridge=1e12)
    layer = gather_least_squares(experts, inputs, gate, torch.tanh, ridge=ridge)
    hidden = torch.cat([layer.hidden(inputs, torch.tanh), torch.ones(200, 1, dtype=torch.float64)], dim=1)
    penalty = ridge * hidden.square().mean(dim=0).mean()
    outputs = sum(gate[:, e, None] * expert(inputs, torch.tanh) for e, expert in enumerate(experts))
    first = torch.cat([start.down.T, start.down_bias[None]])
    fitted = torch.cat([layer.down.T, layer.down_bias[None]]).requires_grad_()
    loss = (hidden @ fitted - outputs).square().sum() / 200 + penalty * (fitted - first).square().sum()
    loss.backward()
    assert fitted.grad.abs().max() < 1e-6


def test_a_busier_expert_gives_more_units():
    experts, inputs = [random_expert(0), random_expert(0)], rows()
    gate = torch.tensor([1.0, 0.001], dtype=torch.float64).expand(200, 2)
    layer = gather_least_squares(experts, inputs, gate, torch.tanh)
    torch.testing.assert_close(layer.up, experts[0].up)


@pytest.mark.parametrize(
    ("change", "message"), [({"width": 9}, "got 9"), ({"ridge": 0.0}, "ridge must be above 0, got 0")]
)
def test_refused(change, message):
    with pytest.raises(UserError, match=message):
        gather_least_squares([random_expert(0)], rows(), weights(200, 1), torch.tanh, **change)
