"""The sparse layer: equality with the dense sum, masks, overflow, experts that rest, and what is returned."""

import pytest
import torch
from torch import nn

from moist.evaluation import count_active_params
from moist.moe import Experts, GatedMLP, MoELayer, SparseSettings, conv_expert, create_router, mlp_expert
from moist.routing import LinearGate, SoftRouting, SwitchRouter, TopKRouter, gate_weights, overflow

DIM, HIDDEN, NUM_EXPERTS = 6, 10, 4


def layer_of(router="top-k", top_k=2, seed=0, capacity_factor=None, **settings):
    torch.manual_seed(seed)
    made = SparseSettings(num_experts=NUM_EXPERTS, top_k=top_k, router=router, **settings)
    experts = [mlp_expert(DIM, HIDDEN) for _ in range(NUM_EXPERTS)]
    return MoELayer(
        create_router(made, DIM), experts, active=made.active_experts, capacity_factor=capacity_factor
    ).eval()


def tokens(*leading, seed=1):
    return torch.randn(*leading, DIM, generator=torch.Generator().manual_seed(seed))


def dense(layer, rows, routing):
    outputs = torch.stack([member(rows) for member in layer.experts.members], dim=1)
    return torch.einsum("ne,ned->nd", gate_weights(routing), outputs)


@pytest.mark.parametrize(
    ("router", "top_k"),
    [
        ("top-k", 1),
        ("top-k", 4),
        ("noisy-top-k", 2),
        ("gshard", 2),
        ("switch", 1),
        ("expert-choice", 2),
        ("bias-balanced", 2),
    ],
)
def test_the_layer_is_the_weighted_sum_of_its_experts(router, top_k):
    layer = layer_of(router, top_k)
    outputs, routing = layer(tokens(3, 5))
    assert outputs.shape == (3, 5, DIM)
    torch.testing.assert_close(outputs.flatten(0, 1), dense(layer, tokens(3, 5).flatten(0, 1), routing))


def test_weights_that_read_more_than_they_write_are_transposed_in_memory():
    first, second = mlp_expert(DIM, HIDDEN), mlp_expert(DIM, HIDDEN)
    kept, answers = [*first.parameters()], first(tokens(5))
    experts = Experts([first, second])
    assert [each.is_contiguous() for each in first.parameters()] == [True, True, False, True]
    assert first[2].weight.shape == (DIM, HIDDEN)
    assert first[2].weight.stride() == (1, DIM)
    assert all(a is b for a, b in zip(first.parameters(), kept))  # an optimiser made before still holds them
    torch.testing.assert_close(first(tokens(5)), answers)
    again = Experts([mlp_expert(DIM, HIDDEN), mlp_expert(DIM, HIDDEN)])
    again.load_state_dict({name: value.contiguous() for name, value in experts.state_dict().items()})
    assert torch.equal(again.members[0](tokens(5)), first(tokens(5)))


def test_soft_layers_keep_groups_apart():
    layer = layer_of("soft")
    outputs, routing = layer(tokens(3, 5))
    assert isinstance(routing, SoftRouting)
    alone, _ = layer(tokens(3, 5)[1:2])
    torch.testing.assert_close(outputs[1:2], alone)


@pytest.mark.parametrize("router", ["top-k", "soft"])
def test_padding_is_neither_routed_nor_answered(router):
    layer = layer_of(router)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    inputs = tokens(2, 3)
    outputs, routing = layer(inputs, mask)
    assert not outputs[~mask].any()
    changed, _ = layer(inputs.masked_fill(~mask.unsqueeze(-1), 7.0), mask)
    torch.testing.assert_close(outputs, changed)
    if router == "top-k":
        assert len(routing.logits) == 3
        torch.testing.assert_close(outputs[mask], layer(inputs[mask])[0])


def test_overflow_passes_by_and_is_counted():
    layer = layer_of("switch", 1, capacity_factor=1.0)
    same = tokens(1).expand(8, DIM)
    outputs, routing = layer(same)
    # All eight rows want one expert, which has room for 8 / 4 = 2
    assert overflow(routing).item() == 0.75
    assert outputs.any(dim=1).tolist() == [True, True] + [False] * 6


def test_a_batch_that_nobody_serves_gives_zeros():
    layer = layer_of()
    outputs, routing = layer(tokens(2, 3), torch.zeros(2, 3, dtype=torch.bool))
    assert outputs.shape == (2, 3, DIM)
    assert not outputs.any()
    assert routing.logits.shape == (0, NUM_EXPERTS)


def test_experts_without_rows_do_not_run():
    layer = layer_of("switch", 1)
    ran = []
    for number, member in enumerate(layer.experts.members):
        member.register_forward_hook(lambda *_, number=number: ran.append(number))
    _, routing = layer(tokens(1).expand(8, DIM))
    assert ran == routing.expert_indices.unique().tolist()


@pytest.mark.parametrize("among", ["all", "chosen"])
def test_facts_hold_the_experts_outputs(among):
    layer = layer_of()
    rows = tokens(7)
    outputs, facts = layer.forward_facts(rows, among=among)
    plain, routing = layer(rows)
    torch.testing.assert_close(outputs, plain)
    everything = torch.stack([member(rows) for member in layer.experts.members])
    if among == "chosen":
        everything = everything[routing.expert_indices.T, torch.arange(7)]
    torch.testing.assert_close(facts.expert_outputs, everything)


def test_the_task_gradient_reaches_the_gate_at_one_expert():
    layer = layer_of("switch", 1)
    layer(tokens(32))[0].square().sum().backward()
    assert layer.router.gate.weight.grad.abs().max() > 1e-3


def test_experts_start_different():
    layer = layer_of()
    first = [member[0].weight for member in layer.experts.members]
    assert all(not torch.equal(a, b) for i, a in enumerate(first) for b in first[:i])


def test_rows_may_be_feature_maps():
    torch.manual_seed(0)
    experts = [conv_expert(3, 5, stride=2) for _ in range(2)]
    layer = MoELayer(TopKRouter(LinearGate(3, 2), 1, "probability"), experts, row_dims=3).eval()
    images = torch.randn(4, 3, 8, 8)
    outputs, routing = layer(images)
    assert outputs.shape == (4, 5, 4, 4)
    chosen = [
        experts[e](image[None]) * w for image, e, w in zip(images, routing.expert_indices, routing.expert_weights)
    ]
    torch.testing.assert_close(outputs, torch.cat(chosen))


def test_active_parameters_are_counted():
    layer = layer_of("switch", 1)
    one = sum(p.numel() for p in layer.experts.members[0].parameters())
    assert count_active_params(layer) == one + NUM_EXPERTS * DIM
    assert Experts([nn.Linear(1, 1)] * 2, active=5.0).active_fraction == 1.0


def test_expert_dropout_is_for_training_alone():
    torch.manual_seed(0)
    for expert in (mlp_expert(DIM, 64, dropout=0.5), GatedMLP(DIM, 64, dropout=0.5)):
        rows = tokens(4)
        assert torch.equal(expert.eval()(rows), expert(rows))
        assert not torch.equal(expert.train()(rows), expert(rows))


def test_gradients_equal_the_dense_sums():
    sparse, whole = (
        MoELayer(TopKRouter(LinearGate(DIM, 2), 2), [nn.Linear(DIM, DIM) for _ in range(2)]).double() for _ in range(2)
    )
    whole.load_state_dict(sparse.state_dict())
    rows = tokens(9).double().requires_grad_()
    other = rows.detach().clone().requires_grad_()
    sparse(rows)[0].square().sum().backward()
    dense(whole, other, whole.router(other)).square().sum().backward()
    torch.testing.assert_close(rows.grad, other.grad)
    for (name, ours), theirs in zip(sparse.named_parameters(), whole.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name)


def test_switch_router_is_usable_with_any_gate():
    layer = MoELayer(SwitchRouter(nn.Linear(DIM, 2)), [nn.Linear(DIM, 1), nn.Linear(DIM, 1)])
    assert layer(tokens(5))[0].shape == (5, 1)
