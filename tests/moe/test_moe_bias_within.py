"""Linear layers in bfloat16 whose bias is added within the product: the same answers, and only where they may."""

import pytest
import torch
from torch import nn

import moist.moe.bias_within as module
from moist.moe import GatedMLP, MoELayer, mlp_expert
from moist.moe.bias_within import FEW, bias_within, can_add_within
from moist.routing import LinearGate, TopKRouter

DIM, HIDDEN, ROWS = 24, 40, 3 * FEW

needs_library = pytest.mark.skipif(not module._library_has_it(), reason="this torch has no oneDNN in bfloat16")


def rows(number=ROWS, seed=1):
    return torch.randn(number, DIM, generator=torch.Generator().manual_seed(seed)).bfloat16()


def expert(seed=0, **settings):
    torch.manual_seed(seed)
    return mlp_expert(DIM, HIDDEN, **settings).bfloat16().eval()


@needs_library
@pytest.mark.parametrize("number", [1, FEW - 1, FEW, ROWS])
@torch.no_grad()
def test_answers_are_those_of_the_module(number):
    made, few = expert(), rows(number)
    exact = expert().float()(few.float())
    torch.testing.assert_close(bias_within(made, few).float(), exact, atol=0.01, rtol=0.02)
    torch.testing.assert_close(bias_within(made, few.T.contiguous().T).float(), exact, atol=0.01, rtol=0.02)


@needs_library
@pytest.mark.parametrize(
    "other",
    [
        lambda: mlp_expert(DIM, HIDDEN, dropout=0.5),
        lambda: GatedMLP(DIM, HIDDEN, bias=True),
        lambda: nn.Sequential(nn.Linear(DIM, 4, bias=False), nn.ReLU(), nn.LayerNorm(4)),
    ],
)
@torch.no_grad()
def test_other_modules_are_served_as_they_are(other):
    torch.manual_seed(0)
    made = other().bfloat16().eval()
    torch.testing.assert_close(bias_within(made, rows()), made(rows()), atol=0.01, rtol=0.02)


@needs_library
@pytest.mark.parametrize("training", [False, True])
def test_the_products_of_plain_experts_are_the_librarys(monkeypatch, training):
    called = []
    monkeypatch.setattr(module, "_product", lambda layer, rows: called.append(layer) or layer(rows))
    torch.manual_seed(0)
    members = [mlp_expert(DIM, HIDDEN) for _ in range(2)]
    layer = MoELayer(TopKRouter(LinearGate(DIM, 2), 2), members).bfloat16().eval()
    with torch.set_grad_enabled(training):
        layer(rows())
    assert called == [members[0][0], members[0][2], members[1][0], members[1][2]]


@needs_library
@torch.no_grad()
def test_hooks_are_called():
    made, seen = expert(), []
    made[0].register_forward_hook(lambda *_: seen.append("linear"))
    bias_within(made, rows())
    assert seen == ["linear"]


@needs_library
@torch.no_grad()
def test_rows_of_the_caller_are_not_overwritten():
    given = rows()
    bias_within(nn.Sequential(nn.GELU(), nn.Linear(DIM, 4)).bfloat16(), given)
    assert torch.equal(given, rows())


@needs_library
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_are_those_of_the_module(transposed):
    made, exact = expert(), expert().float()
    if transposed:
        made[2].weight.data = made[2].weight.data.T.contiguous().T
    inputs = rows().requires_grad_()
    wide = inputs.detach().float().requires_grad_()
    ours = torch.autograd.grad(bias_within(made, inputs).float().sum(), (inputs, *made.parameters()))
    theirs = torch.autograd.grad(exact(wide).sum(), (wide, *exact.parameters()))
    assert [each.stride() for each in ours[1:]] == [each.stride() for each in made.parameters()]
    for a, b in zip(ours, theirs):
        assert a.dtype == torch.bfloat16
        torch.testing.assert_close(a.float(), b, atol=0.03 * b.abs().max().item(), rtol=0.0)


@needs_library
@pytest.mark.filterwarnings("ignore:TF32")  # of the switch itself
def test_only_bfloat16_run_eagerly_is_served_so():
    assert can_add_within(rows())
    assert not can_add_within(rows().float())
    with torch.autocast("cpu", torch.bfloat16):
        assert not can_add_within(rows())
    with torch.backends.mkldnn.flags(enabled=False):
        assert not can_add_within(rows())


def test_a_torch_without_the_library_serves_as_ever(monkeypatch):
    monkeypatch.setattr(module, "_library_has_it", lambda: False)
    assert not can_add_within(rows())
