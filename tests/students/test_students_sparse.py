"""Sparse students: what is routed is returned, padding is not routed, and costs count what is active."""

import pytest
import torch

from moist.config import ConfigError, load_config
from moist.data import InputShape
from moist.evaluation import count_cost
from moist.students import StudentSettings, create_student, width_for

SPARSE = {"num_experts": 4, "top_k": 1}
TEXT = InputShape("text", (7,), num_buckets=20)
IMAGES = InputShape("vision", (3, 8, 8))
TABLE = InputShape("tabular", (5,))
IDS = torch.tensor([[3, 5, 0, 0, 0, 0, 0], [1, 2, 3, 4, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]])


def create(settings, shape, **sparse):
    torch.manual_seed(0)
    return create_student(load_config(StudentSettings, {**settings, "sparse": {**SPARSE, **sparse}}), shape, 4).eval()


@pytest.mark.parametrize(
    ("settings", "shape", "layers", "rows"),
    [
        ({"family": "mlp", "width": 6, "depth": 2}, TABLE, 1, 9),
        ({"family": "resnet", "width": 4}, IMAGES, 3, 9),
        ({"family": "vit", "width": 8, "depth": 3}, IMAGES, 3, 36),
    ],
)
def test_facts_of_every_layer_are_returned(settings, shape, layers, rows):
    student = create(settings, shape)
    inputs = torch.randn(9, *shape.shape)
    logits, facts = student.forward_facts(inputs)
    torch.testing.assert_close(logits, student(inputs))
    assert [fact.routing.logits.shape for fact in facts] == [(rows, 4)] * layers
    assert len(student.sparse_layers) == layers
    logits.square().sum().backward()
    assert all(layer.router.gate.weight.grad.abs().max() > 0 for layer in student.sparse_layers)


def test_of_texts_real_tokens_alone_are_routed():
    student = create({"family": "transformer", "width": 8, "depth": 1}, TEXT)
    _, facts = student.forward_facts(IDS)
    assert len(facts[0].routing.logits) == 2 + 4 + 1  # an empty text keeps its first place
    longer = torch.cat([IDS[:, :5], IDS[:, 5:]], dim=1)
    torch.testing.assert_close(student(IDS[:2, :5]), student(longer[:2]))


def test_a_sparse_bag_routes_whole_texts():
    student = create({"family": "bag", "width": 8, "depth": 1}, TEXT)
    logits, facts = student.forward_facts(IDS)
    assert facts[0].routing.logits.shape == (3, 4)
    torch.testing.assert_close(logits, student(IDS))


@pytest.mark.parametrize("router", ["expert-choice", "soft"])
def test_routers_over_tokens_serve_transformers(router):
    student = create({"family": "transformer", "width": 8}, TEXT, router=router)
    assert torch.isfinite(student(IDS)).all()
    torch.testing.assert_close(student(IDS), student(IDS))


def test_gated_experts_and_capacity():
    student = create({"family": "transformer", "width": 8}, TEXT, gated=True, capacity_factor=0.5, router="switch")
    _, facts = student.forward_facts(IDS)
    assert not facts[0].routing.kept.all()


def test_the_active_cost_is_that_of_one_expert_and_the_gate():
    dense = create_student(StudentSettings(family="mlp", width=6), TABLE, 4)
    rows = torch.randn(9, 5)
    extra = count_cost(create({"family": "mlp", "width": 6}, TABLE), rows).macs - count_cost(dense, rows).macs
    assert extra == 4 * 5
    twice = create({"family": "mlp", "width": 6}, TABLE, top_k=2)
    assert count_cost(twice, rows).macs == 2 * count_cost(dense, rows).macs + 4 * 5


def test_a_sparse_student_can_be_sized():
    settings = load_config(StudentSettings, {"family": "mlp", "sparse": SPARSE})
    assert width_for(settings, TABLE, 4, macs=200, example=torch.randn(9, 5)).width == 20  # 20 + 9 · width >= 200


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"family": "dscnn", "sparse": SPARSE},
            "sparse is for families mlp, bag, resnet, transformer, vit, got 'dscnn'",
        ),
        ({"family": "mlp", "sparse": {"router": "soft"}}, "router 'soft' decides over the tokens"),
        ({"family": "mlp", "sparse": {"gated": True}}, "gated experts are for transformer and vit"),
        ({"family": "mlp", "sparse": {"capacity_factor": 1.0}}, "no capacity"),
        ({"family": "mlp", "depth": 0, "sparse": SPARSE}, "needs a hidden layer for its experts"),
        ({"family": "bag", "sparse": SPARSE}, "a sparse bag needs a hidden layer for its experts"),
    ],
)
def test_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        load_config(StudentSettings, values)
