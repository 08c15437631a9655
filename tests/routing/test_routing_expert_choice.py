"""Expert choice: what holds of it of the contract, and a choice worked by hand."""

from math import ceil

import pytest
import torch
from router_contract import NUM_EXPERTS, NUM_ROWS, WIDTH, experts, inputs, run
from torch import nn

from moist.routing import Dispatcher, ExpertChoiceRouter, gate_weights, unserved
from moist.types import UserError


@pytest.fixture
def gate():
    torch.manual_seed(2)
    return nn.Linear(WIDTH, NUM_EXPERTS)


def test_worked_by_hand():
    # Probabilities by row: (0.9, 0.1), (0.8, 0.2), (0.7, 0.3), (0.6, 0.4); c = 1 gives each expert 4 · 1 / 2 = 2 rows:
    # the first takes rows 0 and 1, the second rows 3 and 2
    first = torch.tensor([0.9, 0.8, 0.7, 0.6])
    routing = ExpertChoiceRouter(nn.Identity(), 1.0)(torch.stack([first, 1 - first], dim=1).log())
    expected = torch.tensor([[0.9, 0.0], [0.8, 0.0], [0.0, 0.3], [0.0, 0.4]])
    torch.testing.assert_close(gate_weights(routing), expected)


def test_rows_that_nobody_takes_are_counted():
    # Both experts prefer the same of two rows
    logits = torch.tensor([[1.0, 1.0], [0.0, 0.0]]) + torch.tensor([[0.1, 0.0], [0.0, 0.0]])
    logits = torch.cat([logits, torch.full((2, 1), 3.0)], dim=1)
    routing = ExpertChoiceRouter(nn.Identity(), 1.5)(logits)
    assert [len(rows) for rows in Dispatcher(routing).rows()] == [1, 1, 1]
    taken = {int(row) for rows in Dispatcher(routing).rows() for row in rows}
    assert unserved(routing).item() == 1 - len(taken) / 2


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_every_expert_serves_the_same_number(gate, factor):
    routing = ExpertChoiceRouter(gate, factor)(inputs())
    assert Dispatcher(routing).counts == [ceil(factor * NUM_ROWS / NUM_EXPERTS)] * NUM_EXPERTS
    assert routing.expert_indices.shape == routing.expert_weights.shape == routing.kept.shape == (NUM_ROWS, NUM_EXPERTS)


def test_all_rows_for_all_equal_the_dense_sum(gate):
    members = experts()
    weights = gate(inputs()).softmax(1)
    dense = torch.einsum("ne,nec->nc", weights, torch.stack([member(inputs()) for member in members], dim=1))
    torch.testing.assert_close(run(ExpertChoiceRouter(gate, NUM_EXPERTS)(inputs()), members, inputs()), dense)


def test_an_order_of_rows_is_kept(gate):
    order = torch.randperm(NUM_ROWS, generator=torch.Generator().manual_seed(3))
    router = ExpertChoiceRouter(gate, 1.0)
    whole, mixed = gate_weights(router(inputs())), gate_weights(router(inputs()[order]))
    torch.testing.assert_close(mixed, whole[order])


def test_the_task_gradient_reaches_the_gate(gate):
    run(ExpertChoiceRouter(gate, 1.0)(inputs()), experts(), inputs()).square().sum().backward()
    assert gate.weight.grad.abs().max() > 1e-2


def test_evaluation_is_deterministic(gate):
    router = ExpertChoiceRouter(gate, 1.0).eval()
    assert torch.equal(router(inputs()).kept, router(inputs()).kept)


def test_a_capacity_of_nothing_is_refused(gate):
    with pytest.raises(UserError, match="capacity_factor must be above 0, got 0"):
        ExpertChoiceRouter(gate, 0)
