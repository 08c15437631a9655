"""Specialists that train together equal a plain loop over them: outputs, gradients, batch statistics."""

import copy

import pytest
import torch
from torch import nn

from moist.data import InputShape
from moist.mixture.stacked import GroupedSpecialists, LoopedSpecialists, StackedSpecialists, stack_if_possible
from moist.students import StudentSettings, build_stages

K, C = 3, 5
VISION = InputShape("vision", (3, 8, 8))
TABLE = InputShape("tabular", (5,), (4, 3))
TEXT = InputShape("text", (6,), num_buckets=32)


def images():
    return torch.randn(6, 3, 8, 8)


def rows():
    return torch.cat([torch.randn(6, 3), torch.randint(0, 4, (6, 1)), torch.randint(0, 3, (6, 1))], dim=1)


def ids():
    return torch.randint(0, 33, (6, 6))


# student settings, shape of its inputs, inputs, stages left to the trunk, form expected
CASES = {
    "resnet": ({"family": "resnet", "width": 2}, VISION, images, 0, GroupedSpecialists),
    "resnet-tail": ({"family": "resnet", "width": 2}, VISION, images, 2, GroupedSpecialists),
    "resnet-deep-tail": ({"family": "resnet", "width": 2, "depth": 2}, VISION, images, 3, GroupedSpecialists),
    "resnet-head": ({"family": "resnet", "width": 2}, VISION, images, 4, StackedSpecialists),
    "dscnn": ({"family": "dscnn", "width": 3}, VISION, images, 0, GroupedSpecialists),
    "dscnn-tail": ({"family": "dscnn", "width": 3}, VISION, images, 1, GroupedSpecialists),
    "mlp": ({"family": "mlp", "width": 7}, TABLE, rows, 0, StackedSpecialists),
    "mlp-tail": ({"family": "mlp", "width": 7, "depth": 2}, TABLE, rows, 2, StackedSpecialists),
    "bag": ({"family": "bag", "width": 4}, TEXT, ids, 0, StackedSpecialists),
    "transformer": ({"family": "transformer", "width": 4, "depth": 1}, TEXT, ids, 0, StackedSpecialists),
    "transformer-tail": ({"family": "transformer", "width": 4, "depth": 1}, TEXT, ids, 1, StackedSpecialists),
}


@pytest.fixture(params=CASES)
def case(request):
    settings, shape, make_inputs, cut, form = CASES[request.param]
    torch.manual_seed(0)
    student = StudentSettings.model_validate(settings)
    stages = build_stages(student, shape, C)
    with torch.no_grad():
        features = nn.Sequential(*stages[:cut])(make_inputs())
    members = [nn.Sequential(*build_stages(student, shape, C)[cut:]) for _ in range(K)]
    for member in members:
        for name, buffer in member.named_buffers():
            if "running" in name:
                buffer.copy_(torch.rand_like(buffer) + 0.5)
    return members, features, form


def loop(members, features):
    return torch.stack([member(features) for member in members], dim=1)


def assert_same_members(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert one.state_dict().keys() == other.state_dict().keys()
        for name, value in other.state_dict().items():
            torch.testing.assert_close(one.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_form_that_is_chosen(case):
    members, _, form = case
    assert type(stack_if_possible(members)) is form


def test_outputs_equal_a_plain_loop(case):
    members, features, _ = case
    together = stack_if_possible(copy.deepcopy(members))
    for mode in (True, False):
        together.train(mode)
        expected = loop([copy.deepcopy(member).train(mode) for member in members], features)
        found = stack_if_possible(copy.deepcopy(members)).train(mode)(features)
        assert found.shape == (len(features), K, C)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_training_step_equals_a_plain_loop(case):
    """One step of plain descent moves every weight by its gradient, and batch statistics along."""
    members, features, _ = case
    together = stack_if_possible(copy.deepcopy(members)).train()
    for module, forward in ((together, together), (nn.ModuleList(members).train(), lambda x: loop(members, x))):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        # Weighted, so that no two members or classes have the same gradient.
        weight = torch.linspace(0.5, 1.5, len(features) * K * C).view(len(features), K, C)
        (forward(features).log_softmax(2) * weight).sum().neg().backward()
        optimizer.step()
    assert_same_members(together.unstack(), members)
    trained = [parameter for member in members for parameter in member.parameters()]
    assert all(parameter.grad is not None for parameter in trained)


def test_gradients_reach_the_shared_features(case):
    members, features, _ = case
    if not features.is_floating_point():
        pytest.skip("ids of words have no gradient")
    one, other = (features.clone().requires_grad_() for _ in range(2))
    stack_if_possible(copy.deepcopy(members)).eval()(one).logsumexp(2).sum().backward()
    loop([copy.deepcopy(member).eval() for member in members], other).logsumexp(2).sum().backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_unstacking_gives_the_members_back_exactly(case):
    members, _, _ = case
    expected = copy.deepcopy(members)
    for one, other in zip(stack_if_possible(members).unstack(), expected):
        for name, value in other.state_dict().items():
            assert torch.equal(one.state_dict()[name], value), name


def test_unstacked_members_are_independent():
    members = [nn.Linear(2, 2) for _ in range(2)]
    first, second = StackedSpecialists(members).unstack()
    with torch.no_grad():
        first.weight.zero_()
    assert torch.equal(second.weight, members[1].weight)


def test_weight_decay_spares_what_it_spares_in_a_member(case):
    members, _, _ = case
    alone = sum(p.numel() for p in members[0].parameters() if getattr(p, "decays", p.dim() > 1))
    together = stack_if_possible(members)
    decaying = sum(p.numel() for p in together.parameters() if getattr(p, "decays", p.dim() > 1))
    assert decaying == K * alone


def test_dropout_listens_to_the_mode():
    members = [nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5)) for _ in range(2)]
    inputs = torch.randn(3, 4)
    # A trained generalist comes in evaluation mode: its copies must train all the same.
    together = StackedSpecialists([member.eval() for member in members])
    together.train()
    trained = together(inputs)
    assert (trained == 0).float().mean() > 0.3
    assert not torch.equal(trained[:, 0] == 0, trained[:, 1] == 0)
    torch.testing.assert_close(together.eval()(inputs), loop(members, inputs))


class Reversed(nn.Conv2d):
    """A convolution that is not quite one."""

    def forward(self, features):
        return super().forward(features).flip(1)


class Scaled(nn.Module):
    """A module with a parameter beside its children."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.scale = nn.Parameter(torch.rand(1))

    def forward(self, features):
        return self.conv(features) * self.scale


def own(*first):
    return nn.Sequential(*first, nn.Flatten(), nn.LazyLinear(C))


OWN = {
    "subclass": lambda: own(Reversed(3, 2, 3)),
    "own parameter": lambda: own(Scaled()),
    "own head": lambda: own(nn.Conv2d(3, 2, 3), nn.ReLU()),
    "other leaf": lambda: own(nn.Conv2d(3, 2, 3), nn.MaxPool2d(2)),
    "buffers": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4), nn.Linear(4, C)),
}


@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
def test_unknown_parts_run_in_a_loop(make):
    features = images()
    members = [make().eval() for _ in range(K)]
    expected = loop(members, features)
    together = stack_if_possible(members)
    assert type(together) is LoopedSpecialists
    torch.testing.assert_close(together(features), expected)
    assert together.unstack() == members


@pytest.mark.parametrize(
    "convolution",
    [
        {"dilation": 2, "padding": 2},
        {"padding": 1, "padding_mode": "circular"},
        {"padding": "same"},
        {"stride": 2, "bias": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("normalization", [{"eps": 0.1}, {"momentum": 0.5}, {"affine": False}], ids=str)
def test_every_option_of_a_convolution_is_kept(convolution, normalization):
    head = StudentSettings(family="resnet", width=1)
    features = images()
    members = [
        nn.Sequential(
            nn.Conv2d(3, 4, 3, **convolution),
            nn.BatchNorm2d(4, **normalization),
            build_stages(head, VISION, C)[-1],
        )
        for _ in range(K)
    ]
    together = stack_if_possible(copy.deepcopy(members))
    assert type(together) is GroupedSpecialists
    torch.testing.assert_close(together(features), loop(members, features), rtol=1e-4, atol=1e-5)
    assert_same_members(together.unstack(), members)
