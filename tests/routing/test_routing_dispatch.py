"""Dispatch and combine: equality with the dense sum, rows served, experts that rest."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from moist.routing import Dispatcher
from moist.types import Routing


def routing_of(indices, weights=None, num_experts=None):
    indices = torch.tensor(indices)
    weights = torch.ones(indices.shape) if weights is None else torch.tensor(weights)
    return Routing(torch.zeros(len(indices), num_experts or int(indices.max()) + 1), indices, weights)


def random_routing(rows, experts, top_k, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, experts, generator=generator, dtype=torch.float64)
    weights = torch.rand(rows, top_k, generator=generator, dtype=torch.float64)
    return Routing(logits, logits.topk(top_k).indices, weights)


def test_worked_by_hand():
    # Row 0 asks experts 1 and 0 with weights 0.75 and 0.25, row 1 asks 1 and 2 with 0.5 each.
    dispatcher = Dispatcher(routing_of([[1, 0], [1, 2]], [[0.75, 0.25], [0.5, 0.5]]))
    assert dispatcher.counts == [1, 2, 1]
    assert [rows.tolist() for rows in dispatcher.rows()] == [[0], [0, 1], [1]]
    assert [part.tolist() for part in dispatcher.dispatch(torch.tensor([10.0, 20.0]))] == [[10], [10, 20], [20]]
    # Expert e multiplies by e + 1: row 0 gives 0.75 · 20 + 0.25 · 10, row 1 gives 0.5 · 40 + 0.5 · 60
    outputs = [torch.tensor([10.0]), torch.tensor([20.0, 40.0]), torch.tensor([60.0])]
    assert dispatcher.combine(outputs).tolist() == [17.5, 50.0]


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 9), experts=st.integers(1, 5), seed=st.integers(0, 2**31), data=st.data())
def test_dispatch_and_combine_equal_the_dense_sum(rows, experts, seed, data):
    top_k = data.draw(st.integers(1, experts))
    routing = random_routing(rows, experts, top_k, seed)
    inputs = torch.randn(rows, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    dispatcher = Dispatcher(routing)
    parts = dispatcher.dispatch(inputs)
    assert [len(part) for part in parts] == dispatcher.counts
    assert sum(dispatcher.counts) == rows * top_k

    answers = [torch.sin((e + 1) * part) if len(part) else None for e, part in enumerate(parts)]
    dense_weights = torch.zeros(rows, experts, dtype=torch.float64)
    dense_weights.scatter_(1, routing.expert_indices, routing.expert_weights)
    everything = torch.stack([torch.sin((e + 1) * inputs) for e in range(experts)], dim=1)
    torch.testing.assert_close(dispatcher.combine(answers), (dense_weights[:, :, None, None] * everything).sum(dim=1))

    chosen = everything[torch.arange(rows)[:, None], routing.expert_indices]
    torch.testing.assert_close(dispatcher.collect(answers), chosen)


def test_experts_without_a_row_get_none():
    dispatcher = Dispatcher(routing_of([[2], [2]], num_experts=4))
    assert dispatcher.counts == [0, 0, 2, 0]
    assert [len(part) for part in dispatcher.dispatch(torch.zeros(2, 3))] == [0, 0, 2, 0]


def test_num_experts_may_be_given():
    assert Dispatcher(routing_of([[0]]), num_experts=3).counts == [1, 0, 0]


def test_an_empty_batch_is_refused():
    empty = Routing(torch.zeros(0, 3), torch.zeros(0, 1, dtype=torch.int64), torch.zeros(0, 1))
    with pytest.raises(ValueError, match="at least one expert, got none; dispatch a batch of one or more rows"):
        Dispatcher(empty).combine([None, None, None])


def test_gradient_reaches_weights_and_outputs():
    routing = random_routing(5, 3, 2, seed=0)

    def forward(inputs, weights):
        dispatcher = Dispatcher(Routing(routing.logits, routing.expert_indices, weights))
        return dispatcher.combine([part * (e + 1) for e, part in enumerate(dispatcher.dispatch(inputs))])

    inputs = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(forward, (inputs, routing.expert_weights.requires_grad_()))


def test_the_outputs_precision_is_kept():
    dispatcher = Dispatcher(routing_of([[0], [1]], [[0.5], [0.5]]))
    assert dispatcher.combine([torch.ones(1, 2).bfloat16()] * 2).dtype == torch.bfloat16


@pytest.mark.parametrize("size", [(8,), (6,), (3, 2, 4)])
def test_bfloat16_rows_go_where_float32_rows_go(size):
    dispatcher = Dispatcher(random_routing(9, 4, 2, seed=3))
    inputs = torch.randn(9, *size, generator=torch.Generator().manual_seed(4)).bfloat16()
    members = [torch.neg, torch.abs, torch.nn.Identity(), torch.relu]
    doubled = inputs.float().requires_grad_()
    expected = dispatcher.combine([member(part) for member, part in zip(members, dispatcher.dispatch(doubled))])
    torch.testing.assert_close(dispatcher.run(members, inputs).float(), expected, atol=0.02, rtol=0.02)

    grad = torch.ones_like(expected)
    halves = inputs.requires_grad_()
    outputs = dispatcher.combine([member(part) for member, part in zip(members, dispatcher.dispatch(halves))])
    (ours,) = torch.autograd.grad(outputs, halves, grad.bfloat16())
    (theirs,) = torch.autograd.grad(expected, doubled, grad)
    torch.testing.assert_close(ours.float(), theirs, atol=0.02, rtol=0.02)
