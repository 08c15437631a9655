"""Gathers by weights alone, worked by hand."""

import pytest
import torch

from moist.integration import FeedForward, gather_average, gather_sum, gather_svd, gather_top_k, weight_norms
from moist.types import UserError

# Two experts of two hidden units, one input, one output
FIRST = FeedForward(
    up=torch.tensor([[3.0], [1.0]]),
    down=torch.tensor([[4.0, 0.0]]),
    up_bias=torch.tensor([1.0, 2.0]),
    down_bias=torch.tensor([10.0]),
)
SECOND = FeedForward(
    up=torch.tensor([[0.0], [5.0]]),
    down=torch.tensor([[2.0, 12.0]]),
    up_bias=torch.tensor([3.0, 4.0]),
    down_bias=torch.tensor([20.0]),
)


def random_expert(seed, dim=5, hidden=4, gated=False, bias=True):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return FeedForward(
        draw(hidden, dim),
        draw(dim, hidden),
        draw(hidden) if bias else None,
        draw(dim) if bias else None,
        draw(hidden, dim) if gated else None,
        draw(hidden) if gated and bias else None,
    )


def fields(layer):
    return {name: getattr(layer, name) for name in ("up", "down", "up_bias", "down_bias", "gate", "gate_bias")}


def assert_same(layer, other):
    for name, value in fields(layer).items():
        expected = getattr(other, name)
        if expected is None:
            assert value is None, name
        else:
            torch.testing.assert_close(value, expected, msg=name)


def test_the_layer_itself_worked_by_hand():
    # x = 1: hidden relu(3 + 1, 1 + 2) = (4, 3); output 4 · 4 + 0 · 3 + 10
    assert FIRST(torch.tensor([[1.0]]), torch.relu).item() == 26
    gated = FeedForward(FIRST.up, FIRST.down, gate=torch.tensor([[-1.0], [2.0]]))
    # Gates relu(-1, 2), raised (3, 1): hidden (0, 2); output 4 · 0 + 0 · 2
    assert gated.hidden(torch.tensor([[1.0]]), torch.relu).tolist() == [[0.0, 2.0]]
    assert gated(torch.tensor([[1.0]]), torch.relu).item() == 0


def test_sum_worked_by_hand():
    layer = gather_sum([FIRST, SECOND])
    assert layer.up.tolist() == [[3.0], [6.0]]
    assert layer.down.tolist() == [[6.0, 12.0]]
    assert layer.up_bias.tolist() == [4.0, 6.0]
    assert layer.down_bias.tolist() == [30.0]
    assert layer.gate is None


def test_average_worked_by_hand():
    layer = gather_average([FIRST, SECOND])
    assert layer.up.tolist() == [[1.5], [3.0]]
    assert layer.down_bias.tolist() == [15.0]


def test_weight_norms_worked_by_hand():
    # 3² + 4², 1² + 0²; 0² + 2², 5² + 12²
    assert weight_norms(FIRST).tolist() == [5.0, 1.0]
    assert weight_norms(SECOND).tolist() == [2.0, 13.0]


def test_top_k_worked_by_hand():
    # One unit of each: the first of FIRST, the second of SECOND; the output's bias is the mean
    layer = gather_top_k([FIRST, SECOND])
    assert layer.up.tolist() == [[3.0], [5.0]]
    assert layer.down.tolist() == [[4.0, 12.0]]
    assert layer.up_bias.tolist() == [1.0, 4.0]
    assert layer.down_bias.tolist() == [15.0]


def test_top_k_follows_given_scores_and_width():
    scores = [torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])]
    assert gather_top_k([FIRST, SECOND], scores=scores).up.tolist() == [[1.0], [0.0]]
    # Three units of two experts: the first gives two
    assert gather_top_k([FIRST, SECOND], width=3).up.tolist() == [[3.0], [1.0], [5.0]]


@pytest.mark.parametrize("width", [0, 5])
def test_top_k_refuses_a_width_beyond_the_units(width):
    with pytest.raises(UserError, match=f"width must be between 1 and the experts' 4 units, got {width}"):
        gather_top_k([FIRST, SECOND], width=width)


def test_svd_worked_by_hand():
    # diag(3, 1) and diag(1, 4), no biases, rank 2 / 2 experts = 1 each: diag(3, 0) + diag(0, 4)
    first = FeedForward(up=torch.diag(torch.tensor([3.0, 1.0])), down=torch.diag(torch.tensor([3.0, 1.0])))
    second = FeedForward(up=torch.diag(torch.tensor([1.0, 4.0])), down=torch.diag(torch.tensor([1.0, 4.0])))
    layer = gather_svd([first, second])
    torch.testing.assert_close(layer.up, torch.diag(torch.tensor([3.0, 4.0])))
    torch.testing.assert_close(layer.down, torch.diag(torch.tensor([3.0, 4.0])))
    assert layer.up_bias is None


def test_svd_cuts_biases_with_their_matrix():
    # [up | bias] = [[3, 4]]: rank one, kept whole at rank 1 of one expert
    layer = gather_svd(
        [FeedForward(torch.tensor([[3.0]]), torch.tensor([[2.0]]), torch.tensor([4.0]), torch.tensor([0.0]))]
    )
    torch.testing.assert_close(layer.up, torch.tensor([[3.0]]))
    torch.testing.assert_close(layer.up_bias, torch.tensor([4.0]))


def test_svd_needs_a_rank_for_each_expert():
    with pytest.raises(UserError, match="rank must be at least the number of experts, 2, got 1"):
        gather_svd([FIRST, SECOND])


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_equal_experts_average_to_themselves(gated, bias):
    expert = random_expert(0, gated=gated, bias=bias)
    assert_same(gather_average([expert, expert, expert]), expert)


@pytest.mark.parametrize("gated", [False, True])
def test_all_units_of_two_experts_give_the_sum_of_their_outputs(gated):
    # Side by side, two layers add up; only the biases are averaged
    experts = [random_expert(seed, gated=gated) for seed in (0, 1)]
    layer = gather_top_k(experts, width=8)
    rows = torch.randn(6, 5, dtype=torch.float64)
    expected = sum(expert(rows, torch.tanh) - expert.down_bias for expert in experts)
    expected = expected + (experts[0].down_bias + experts[1].down_bias) / 2
    torch.testing.assert_close(layer(rows, torch.tanh), expected)


@pytest.mark.parametrize("gated", [False, True])
def test_one_expert_of_full_rank_is_kept(gated):
    expert = random_expert(0, gated=gated)
    layer = gather_svd([expert], rank=5)
    for name in ("up", "up_bias", "gate"):
        if getattr(expert, name) is not None:
            torch.testing.assert_close(getattr(layer, name), getattr(expert, name))
