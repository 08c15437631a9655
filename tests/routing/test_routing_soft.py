"""Soft routing: what holds of it of the contract, and a mixture worked by hand."""

from math import log

import pytest
import torch
from torch import nn

from moist.routing import SoftDispatcher, SoftRouter, gate_weights

GROUPS, LENGTH, DIM, NUM_EXPERTS, SLOTS = 2, 5, 3, 4, 2


@pytest.fixture
def router():
    torch.manual_seed(2)
    return SoftRouter(DIM, NUM_EXPERTS, SLOTS).eval()


@pytest.fixture
def tokens():
    return torch.randn(GROUPS, LENGTH, DIM, generator=torch.Generator().manual_seed(0))


def run(router, members, tokens, mask=None):
    dispatcher = SoftDispatcher(router(tokens, mask), len(members))
    rows = tokens.flatten(0, 1)
    return dispatcher.combine([member(part) for member, part in zip(members, dispatcher.dispatch(rows))])


def members(seed=1):
    torch.manual_seed(seed)
    return [nn.Linear(DIM, 3) for _ in range(NUM_EXPERTS)]


def test_worked_by_hand():
    # Two experts of a slot, scores x · (1, 0) and x · (0, 0). Tokens log 3 and 0 give (log 3, 0) and (0, 0): slot 0
    # reads 3/4 of the first token and 1/4 of the second, slot 1 half of each; the first token takes 3/4 of slot 0 and
    # 1/4 of slot 1, the second half of each
    router = SoftRouter(1, 2)
    with torch.no_grad():
        router.slots.copy_(torch.tensor([[1.0], [0.0]]))
    tokens = torch.tensor([[[log(3)], [0.0]]])
    routing = router(tokens)
    torch.testing.assert_close(routing.dispatch_GLS[0], torch.tensor([[0.75, 0.5], [0.25, 0.5]]))
    torch.testing.assert_close(routing.combine_GLS[0], torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    dispatcher = SoftDispatcher(routing, 2)
    first, second = dispatcher.dispatch(tokens.flatten(0, 1))
    torch.testing.assert_close(first, torch.tensor([[0.75 * log(3)]]))
    torch.testing.assert_close(second, torch.tensor([[0.5 * log(3)]]))
    combined = dispatcher.combine([torch.tensor([[4.0]]), torch.tensor([[8.0]])])
    torch.testing.assert_close(combined, torch.tensor([[5.0], [6.0]]))


def test_shapes_and_weights(router, tokens):
    routing = router(tokens)
    assert routing.logits.shape == routing.expert_indices.shape == (GROUPS * LENGTH, NUM_EXPERTS)
    torch.testing.assert_close(routing.expert_weights.sum(dim=1), torch.ones(GROUPS * LENGTH))
    assert (routing.expert_weights.diff(dim=1) <= 0).all()
    torch.testing.assert_close(routing.dispatch_GLS.sum(dim=1), torch.ones(GROUPS, NUM_EXPERTS * SLOTS))
    own = routing.combine_GLS.flatten(0, 1).unflatten(-1, (NUM_EXPERTS, SLOTS)).sum(dim=-1)
    torch.testing.assert_close(gate_weights(routing), own)


def test_groups_do_not_see_each_other(router, tokens):
    whole = run(router, members(), tokens)
    alone = run(router, members(), tokens[1:])
    torch.testing.assert_close(whole[LENGTH:], alone)


def test_an_order_of_tokens_is_kept(router, tokens):
    order = torch.tensor([3, 1, 4, 0, 2])
    whole = run(router, members(), tokens).unflatten(0, (GROUPS, LENGTH))
    mixed = run(router, members(), tokens[:, order]).unflatten(0, (GROUPS, LENGTH))
    torch.testing.assert_close(mixed, whole[:, order])


def test_padding_is_not_read(router, tokens):
    mask = torch.ones(GROUPS, LENGTH, dtype=torch.bool)
    mask[0, 3:] = False
    changed = tokens.clone()
    changed[0, 3:] = 100.0
    whole = run(router, members(), tokens, mask).unflatten(0, (GROUPS, LENGTH))
    other = run(router, members(), changed, mask).unflatten(0, (GROUPS, LENGTH))
    torch.testing.assert_close(whole[0, :3], other[0, :3])


def test_rows_without_groups_are_one(router, tokens):
    torch.testing.assert_close(router(tokens[0]).dispatch_GLS, router(tokens[:1]).dispatch_GLS)


def test_the_task_gradient_reaches_the_slots(router, tokens):
    run(router, members(), tokens).square().sum().backward()
    assert router.slots.grad.abs().max() > 1e-2


def test_equal_experts_give_each_token_a_mean_of_its_groups_slots(router, tokens):
    # With the identity for every expert, outputs are C (D' X)
    routing = router(tokens)
    slots = routing.dispatch_GLS.mT @ tokens
    outputs = run(router, [nn.Identity()] * NUM_EXPERTS, tokens).unflatten(0, (GROUPS, LENGTH))
    torch.testing.assert_close(outputs, routing.combine_GLS @ slots)
