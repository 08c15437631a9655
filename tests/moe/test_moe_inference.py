"""Packed weights: the same answers, never of a weight that has changed since, and nothing for a module to carry."""

import copy
import gc
import pickle

import pytest
import torch

from moist.moe import GatedMLP, MoELayer, mlp_expert, pack_for_inference
from moist.moe import packed as module
from moist.moe.bias_within import _library_has_it
from moist.routing import LinearGate, TopKRouter
from moist.types import UserError

DIM, HIDDEN, EXPERTS, TOKENS = 24, 40, 3, 96

pytestmark = pytest.mark.skipif(
    not (_library_has_it() and module.can_pack()), reason="this torch has no oneDNN in bfloat16"
)


def layer(seed=0):
    torch.manual_seed(seed)
    experts = [mlp_expert(DIM, HIDDEN) for _ in range(EXPERTS)]
    return MoELayer(TopKRouter(LinearGate(DIM, EXPERTS), 1, "probability"), experts).bfloat16().eval()


def tokens():
    return torch.randn(TOKENS, DIM, generator=torch.Generator().manual_seed(1)).bfloat16()


@torch.no_grad()
def answers(network):
    return network(tokens())[0]


def weights(network):
    return [expert[number].weight for expert in network.experts.members for number in (0, 2)]


def have_copies(network):
    return [weight in module._copies for weight in weights(network)]


def packed_layer():
    made = layer()
    pack_for_inference(made)
    return made


def test_packed_weights_give_the_same_answers_and_are_really_read(monkeypatch):
    made = layer()
    before = answers(made)
    assert pack_for_inference(made) == 2 * EXPERTS * 2 * DIM * HIDDEN
    torch.testing.assert_close(answers(made), before, atol=0.01, rtol=0.02)
    assert have_copies(made) == [True] * 6
    # Copies of other numbers give other answers, so it is they that are read.
    for copied, kept in zip(weights(layer(seed=7)), weights(made), strict=True):
        module.pack(copied)
        monkeypatch.setitem(
            module._copies, kept, module._Copy(module._copies[kept].state, module._copies[copied].weight)
        )
    assert not torch.allclose(answers(made), before, atol=0.01, rtol=0.02)


def halve(weight):
    with torch.no_grad():
        weight.mul_(0.5)


def replace_data(weight):
    weight.data = weight.data * 0.5


def train(weight):
    weight.requires_grad_(True)
    weight.grad = torch.ones_like(weight)
    torch.optim.AdamW([weight], lr=0.1, fused=True).step()  # which torch does not count as a change


@pytest.mark.parametrize("change", [halve, replace_data, train])
@pytest.mark.parametrize("number", range(2 * EXPERTS))
def test_a_changed_weight_is_served_itself(change, number):
    made = packed_layer()
    before = answers(made)
    change(weights(made)[number])
    after = answers(made)
    torch.testing.assert_close(after, answers(copy.deepcopy(made)), atol=0.01, rtol=0.02)
    assert not torch.allclose(after, before, atol=0.01, rtol=0.02)
    assert have_copies(made) == [other != number for other in range(2 * EXPERTS)]


def test_a_loaded_state_is_served():
    made, other = packed_layer(), layer(seed=7)
    made.load_state_dict(other.state_dict())
    torch.testing.assert_close(answers(made), answers(other), atol=0.01, rtol=0.02)


def test_packed_weights_are_frozen_and_leave_the_other_parameters_alone():
    made = packed_layer()
    frozen = [parameter for parameter in made.parameters() if not parameter.requires_grad]
    assert {id(weight) for weight in frozen} == {id(weight) for weight in weights(made)}


def test_training_gives_the_copies_back_and_moves_what_is_served():
    made = packed_layer().train().requires_grad_(True)
    before = answers(made)
    optimizer = torch.optim.SGD(made.parameters(), lr=1.0)
    made(tokens())[0].float().square().sum().backward()
    optimizer.step()
    assert not any(have_copies(made))
    assert not torch.allclose(answers(made.eval()), before, atol=0.01, rtol=0.02)


def test_nothing_is_saved_or_copied_along():
    made, plain = packed_layer(), layer()
    assert made.state_dict().keys() == plain.state_dict().keys()
    assert len(pickle.dumps(made)) == len(pickle.dumps(plain))
    assert not any(have_copies(copy.deepcopy(made)))


def test_copies_go_with_their_weights():
    made = packed_layer()
    gc.collect()
    held = len(module._copies)
    del made
    gc.collect()
    assert len(module._copies) == held - 2 * EXPERTS


@pytest.mark.parametrize("network", [torch.nn.Linear(3, 3), layer().float(), GatedMLP(4, 8).bfloat16()])
def test_without_plain_experts_in_bfloat16_there_is_nothing_to_pack(network):
    with pytest.raises(UserError, match="got none such; convert the network first"):
        pack_for_inference(network)
