"""Building mixtures: trunk, gate and specialists fit, errors say what to change, costs add up."""

import copy

import pytest
import torch
from torch import nn

from moist.data import InputShape
from moist.evaluation import count_cost
from moist.mixture import (
    MixtureSettings,
    RouterSettings,
    build_gate,
    build_mixture,
    mixture_cost,
    start_gate_from_centres,
)
from moist.students import StudentSettings, create_student
from moist.types import UserError

VISION = InputShape("vision", (3, 8, 8))
TABLE = InputShape("tabular", (5,), (4, 3))
TEXT = InputShape("text", (6,), num_buckets=32)
INPUTS = {
    "vision": torch.randn(4, 3, 8, 8),
    "tabular": torch.cat([torch.randn(4, 3), torch.ones(4, 2)], dim=1),
    "text": torch.tensor([[1, 2, 3, 0, 0, 0]] * 3 + [[0] * 6]),
}
STUDENTS = {
    "resnet": (StudentSettings(family="resnet", width=2), VISION),
    "dscnn": (StudentSettings(family="dscnn", width=2), VISION),
    "mlp": (StudentSettings(family="mlp", width=4, depth=2), TABLE),
    "bag": (StudentSettings(family="bag", width=4, depth=1), TEXT),
    "transformer": (StudentSettings(family="transformer", width=4, depth=1), TEXT),
}


def build(settings, family="mlp", generalist=None):
    student, shape = STUDENTS[family]
    settings = MixtureSettings.model_validate({"num_domains": 3, **settings})
    return build_mixture(settings, student, shape, 5, INPUTS[shape.kind], generalist)


@pytest.mark.parametrize("family", STUDENTS)
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_gate_may_read_the_trunk_of_every_family(family, kind):
    mixture = build({"trunk_stages": 1, "router": {"kind": kind, "reads": "trunk", "width": 3}}, family)
    scores, logits = mixture.forward_all(INPUTS[STUDENTS[family][1].kind])
    assert scores.shape == (4, 3)
    assert logits.shape == (4, 3, 5)
    assert scores.isfinite().all()


def test_a_trunk_gate_does_not_see_padding():
    mixture = build({"trunk_stages": 1, "router": {"reads": "trunk"}}, "transformer").eval()
    scores, _ = mixture.forward_all(torch.tensor([[5, 6, 0, 0, 0, 0]]))
    shorter, _ = mixture.forward_all(torch.tensor([[5, 6, 0]]))
    torch.testing.assert_close(scores, shorter)


@pytest.mark.parametrize(
    ("kind", "shape"), [("linear", VISION), ("linear", TABLE), ("mlp", VISION), ("cnn", VISION), ("bag", TEXT)]
)
def test_a_gate_may_read_the_inputs(kind, shape):
    gate = build_gate(RouterSettings(kind=kind, width=3), shape, 4, torch.empty(0))
    assert gate(INPUTS[shape.kind]).shape == (4, 4)


@pytest.mark.parametrize(
    ("kind", "shape", "remedy"), [("bag", TABLE, "linear"), ("cnn", TEXT, "bag"), ("linear", TEXT, "bag")]
)
def test_a_gate_that_cannot_read_the_inputs_is_refused(kind, shape, remedy):
    with pytest.raises(UserError, match=rf"reads {shape.kind} inputs.*got '{kind}'; set .*kind={remedy}"):
        build_gate(RouterSettings(kind=kind), shape, 4, torch.empty(0))


def test_a_gate_for_images_cannot_read_a_trunk():
    with pytest.raises(UserError, match=r"'linear' or 'mlp', got 'cnn'; set mixture\.router\.kind=linear"):
        build({"trunk_stages": 1, "router": {"kind": "cnn", "reads": "trunk"}}, "resnet")


def test_a_trunk_that_is_too_long_is_refused():
    with pytest.raises(UserError, match="at least one of the student's 4 stages to the specialists, got 4; lower it"):
        build({"trunk_stages": 4})
    build({"trunk_stages": 3})


def test_a_router_cannot_read_a_trunk_that_is_not_there():
    with pytest.raises(UserError, match=r"needs a shared trunk, got mixture\.trunk_stages=0; set"):
        build({"router": {"reads": "trunk"}})


def test_specialists_start_apart():
    first, second, third = build({}).deploy().specialists
    for other in (second, third):
        assert not torch.equal(first[1][0].weight, other[1][0].weight)


def test_trunk_and_specialists_start_from_a_generalist_and_leave_it_alone():
    student, shape = STUDENTS["resnet"]
    generalist = create_student(student, shape, 5).eval()
    before = copy.deepcopy(generalist.state_dict())
    mixture = build({"trunk_stages": 2}, "resnet", generalist)
    _, logits = mixture.deploy().forward_all(INPUTS["vision"])
    expected = generalist(INPUTS["vision"])
    for k in range(3):
        torch.testing.assert_close(logits[:, k], expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for parameter in mixture.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in generalist.state_dict().items())


def test_building_does_not_touch_batch_statistics():
    mixture = build({"trunk_stages": 2}, "resnet")
    assert mixture.trunk.training
    assert all(int(count) == 0 for name, count in mixture.named_buffers() if name.endswith("num_batches_tracked"))


def test_the_costs_are_those_of_the_parts():
    mixture = build({"trunk_stages": 1, "router": {"reads": "trunk"}}).deploy()
    example = INPUTS["tabular"]
    active, total = mixture_cost(mixture, example, [0.5, 0.3, 0.2])
    features = mixture.trunk(example)
    trunk, gate = count_cost(mixture.trunk, example), count_cost(mixture.gate, features)
    one = count_cost(mixture.specialists[0], features)
    assert active.macs == pytest.approx(trunk.macs + gate.macs + one.macs)
    assert active.params == trunk.params + gate.params + one.params
    assert total.params == trunk.params + gate.params + 3 * one.params == sum(p.numel() for p in mixture.parameters())
    assert total.bytes == 4 * total.params


def test_two_active_specialists_cost_twice_as_much():
    mixture = build({}).deploy()
    one, _ = mixture_cost(mixture, INPUTS["tabular"], [0.5, 0.3, 0.2])
    two, _ = mixture_cost(mixture, INPUTS["tabular"], [1.0, 0.6, 0.4])
    specialist = count_cost(mixture.specialists[0], INPUTS["tabular"])
    assert two.macs - one.macs == pytest.approx(specialist.macs)


def test_without_a_trunk_the_trunk_costs_nothing():
    mixture = build({})
    assert isinstance(mixture.trunk, nn.Identity)
    assert count_cost(mixture.trunk, INPUTS["tabular"]).macs == 0


def test_drawn_specialists_are_different_and_answer_for_themselves():
    mixture = build({"active": 2}).eval()
    rows = INPUTS["tabular"]
    scores, drawn, logits = mixture.forward_drawn(rows, 2)
    all_scores, all_logits = mixture.forward_all(rows)
    torch.testing.assert_close(scores, all_scores)
    assert all(len(set(pair.tolist())) == 2 for pair in drawn)
    torch.testing.assert_close(logits, all_logits[torch.arange(4)[:, None], drawn])


def test_specialists_are_drawn_as_often_as_the_gate_believes():
    mixture = build({"active": 2})
    row = INPUTS["tabular"][:1].expand(4000, -1)
    torch.manual_seed(0)
    scores, drawn, _ = mixture.forward_drawn(row, 1)
    frequency = drawn.flatten().bincount(minlength=3) / 4000
    torch.testing.assert_close(frequency, scores[0].softmax(0), atol=0.03, rtol=0)


def test_a_gate_that_starts_from_clusters_tells_them_apart():
    torch.manual_seed(0)
    cluster = torch.arange(60) % 3
    features = 10 * torch.eye(3)[cluster] + torch.randn(60, 3)
    gate = build_gate(RouterSettings(reads="trunk"), TABLE, 3, features)
    start_gate_from_centres(gate, 10 * torch.eye(3), variance=1.0)
    chosen = gate(features).argmax(1)
    assert torch.equal(chosen, cluster)


def test_other_gates_keep_their_start():
    gate = build_gate(RouterSettings(kind="mlp", reads="trunk"), TABLE, 3, torch.zeros(4, 5))
    before = copy.deepcopy(gate.state_dict())
    start_gate_from_centres(gate, torch.randn(3, 5), variance=1.0)
    assert all(torch.equal(value, before[name]) for name, value in gate.state_dict().items())


def test_a_restart_needs_a_shared_start():
    with pytest.raises(ValueError, match=r"mixture\.restart needs a shared start to go on from, got restart=0\.3"):
        MixtureSettings(restart=0.3)
    assert MixtureSettings(restart=0.3, shared_start=0.5).restart == 0.3


@pytest.mark.parametrize(("epochs", "shared"), [(60, 50), (2, 1), (1, 0)])
def test_a_shared_start_leaves_an_epoch_to_the_mixture(epochs: int, shared: int):
    assert MixtureSettings(shared_start=5 / 6).shared_epochs(epochs) == shared


@pytest.mark.parametrize("other", [{"method": "random"}, {"method": "class-domains"}])
def test_a_least_share_is_for_joint_training(other: dict[str, str]):
    with pytest.raises(ValueError, match=r"mixture\.least_share is for specialists of one size"):
        MixtureSettings(least_share=0.5, **other)
