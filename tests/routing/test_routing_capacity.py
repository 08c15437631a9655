"""Capacity: who stays, who overflows, worked by hand."""

import pytest
import torch

from moist.routing import Dispatcher, expert_capacity, expert_load, gate_weights, limit_capacity, overflow, unserved
from moist.types import Routing, UserError


def routing_of(indices, kept=None, num_experts=2):
    indices = torch.tensor(indices)
    weights = torch.full(indices.shape, 0.5)
    return Routing(
        torch.zeros(len(indices), num_experts), indices, weights, None if kept is None else torch.tensor(kept)
    )


@pytest.mark.parametrize(("factor", "room"), [(1.0, 2), (1.25, 3), (0.5, 1)])
def test_capacity_worked_by_hand(factor, room):
    # 8 rows, one choice, 4 experts: 2 rows each at a factor of 1
    assert expert_capacity(8, 1, 4, factor) == room


def test_first_choices_come_before_second_ones():
    # Room for 2 · 3 / 2 = 3 each at a factor of 1. Expert 0 is the first choice of rows 0, 1, 2, and nobody's second;
    # expert 1 the second choice of all three
    limited = limit_capacity(routing_of([[0, 1], [0, 1], [0, 1]]), 1.0)
    assert limited.kept.all()
    # Room for 2 each: row 2 loses both
    limited = limit_capacity(routing_of([[0, 1], [0, 1], [0, 1]]), 0.6)
    assert limited.kept.tolist() == [[True, True], [True, True], [False, False]]
    # Expert 0: first choice of row 1, second of row 0; room for one: the first choice stays
    limited = limit_capacity(routing_of([[1, 0], [0, 1]]), 0.5)
    assert limited.kept.tolist() == [[True, False], [True, False]]


def test_what_was_left_out_before_takes_no_room():
    limited = limit_capacity(routing_of([[0], [0], [0], [1]], kept=[[False], [True], [True], [True]]), 1.0)
    assert limited.kept.tolist() == [[False], [True], [True], [True]]


def test_overflow_gives_zeros_and_is_counted():
    limited = limit_capacity(routing_of([[0], [0], [0], [1]]), 1.0)
    assert limited.kept.flatten().tolist() == [True, True, False, True]
    assert overflow(limited).item() == 0.25
    assert unserved(limited).item() == 0.25
    torch.testing.assert_close(expert_load(limited), torch.tensor([2 / 3, 1 / 3]))
    assert gate_weights(limited)[2].tolist() == [0, 0]
    dispatcher = Dispatcher(limited)
    outputs = [part + 1 for part in dispatcher.dispatch(torch.ones(4, 1))]
    assert dispatcher.combine(outputs).flatten().tolist() == [1, 1, 0, 1]
    with pytest.raises(ValueError, match="every choice carried out, got choices left out"):
        dispatcher.collect(outputs)


def test_without_capacity_nothing_overflows():
    free = routing_of([[0], [1]])
    assert overflow(free).item() == unserved(free).item() == 0


def test_gradients_pass_where_choices_are_left_out():
    limited = limit_capacity(routing_of([[0], [0], [0], [1]]), 1.0)
    inputs = torch.ones(4, 2, requires_grad=True)
    dispatcher = Dispatcher(limited)
    dispatcher.combine(dispatcher.dispatch(inputs)).sum().backward()
    assert inputs.grad[:, 0].tolist() == [0.5, 0.5, 0, 0.5]


def test_a_factor_of_zero_is_refused():
    with pytest.raises(UserError, match="capacity_factor must be above 0, got 0"):
        limit_capacity(routing_of([[0]]), 0)
