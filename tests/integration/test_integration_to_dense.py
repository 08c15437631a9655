"""A sparse student becomes dense: what is copied, what is gathered, and when the outputs stay."""

import pytest
import torch

from moist.data import InputShape
from moist.integration import copy_shared, to_dense
from moist.moe import SparseSettings
from moist.students import StudentSettings, create_student, dense_origins, upcycle_student
from moist.types import UserError

SPARSE = {"num_experts": 3, "top_k": 2, "combine": "renormalize"}
TABLE, TEXT, IMAGES = (
    InputShape("tabular", (6,)),
    InputShape("text", (7,), num_buckets=20),
    InputShape("vision", (3, 8, 8)),
)
CASES = {
    "mlp": (StudentSettings(family="mlp", width=10, depth=2), TABLE),
    "transformer": (StudentSettings(family="transformer", width=8), TEXT),
    "vit": (StudentSettings(family="vit", width=8), IMAGES),
}


def inputs_of(shape, count=40):
    generator = torch.Generator().manual_seed(0)
    if shape.kind == "text":
        return torch.randint(1, 21, (count, 7), generator=generator)
    return torch.randn(count, *shape.shape, generator=generator)


@pytest.fixture(params=CASES)
def upcycled(request):
    settings, shape = CASES[request.param]
    torch.manual_seed(0)
    dense = create_student(settings, shape, 4).eval()
    sparse, sparse_settings = upcycle_student(dense, settings, SparseSettings(**SPARSE), shape, 4)
    return dense, sparse.eval(), sparse_settings, shape


@pytest.mark.parametrize("method", ["average", "least-squares"])
def test_experts_that_are_copies_gather_to_what_they_copied(upcycled, method):
    dense, sparse, settings, shape = upcycled
    inputs = inputs_of(shape)
    again, plain = to_dense(sparse, settings, shape, 4, method, inputs=inputs)
    assert plain.sparse is None
    torch.testing.assert_close(sparse(inputs), dense(inputs))
    tolerance = 1e-5 if method == "average" else 0.3  # least squares keeps the units of all, not those of one
    torch.testing.assert_close(again(inputs), dense(inputs), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("score", ["norm", "activation", "taylor"])
def test_top_k_keeps_units_of_every_expert(upcycled, score):
    _, sparse, settings, shape = upcycled
    targets = torch.arange(40) % 4
    dense, _ = to_dense(sparse, settings, shape, 4, "top-k", inputs=inputs_of(shape), targets=targets, unit_score=score)
    assert dense(inputs_of(shape)).shape == (40, 4)
    assert not dense.training


def test_all_else_is_copied(upcycled):
    _, sparse, settings, shape = upcycled
    with torch.no_grad():
        for parameter in sparse.parameters():
            parameter.add_(1.0)
    dense, _ = to_dense(sparse, settings, shape, 4, "sum")
    state = sparse.state_dict()
    for name, value in dense.state_dict().items():
        for own in (name, name.replace("stages.1.", "stages.1.block.")):
            if own in state:
                assert torch.equal(value, state[own])


def test_a_copied_student_knows_all_but_the_experts(upcycled):
    origin, sparse, settings, shape = upcycled
    torch.manual_seed(1)
    copied = copy_shared(sparse, settings, shape, 4).state_dict()
    torch.manual_seed(1)
    fresh = create_student(settings.model_copy(update={"sparse": None}), shape, 4).state_dict()
    # The experts here are copies of the origin's feed-forward layers.
    experts = {dense for name, dense in dense_origins(sparse).items() if ".experts." in name}
    assert experts
    for name, weight in copied.items():
        torch.testing.assert_close(weight, fresh[name] if name in experts else origin.state_dict()[name])


def test_the_student_is_left_as_it_was(upcycled):
    _, sparse, settings, shape = upcycled
    before = {name: value.clone() for name, value in sparse.state_dict().items()}
    to_dense(sparse.train(), settings, shape, 4, "least-squares", inputs=inputs_of(shape))
    assert sparse.training
    assert all(torch.equal(value, before[name]) for name, value in sparse.state_dict().items())
    assert all(parameter.grad is None for parameter in sparse.parameters())
    assert not any(layer.router._forward_hooks for layer in sparse.sparse_layers)


def test_refused():
    settings, shape = CASES["mlp"]
    dense = create_student(settings, shape, 4)
    with pytest.raises(UserError, match="takes a student with experts, got a dense one"):
        to_dense(dense, settings, shape, 4, "sum")
    sparse, made = upcycle_student(dense, settings, SparseSettings(**SPARSE), shape, 4)
    with pytest.raises(UserError, match="'least-squares' looks at data, got none"):
        to_dense(sparse, made, shape, 4, "least-squares")
    with pytest.raises(UserError, match="'taylor' needs the classes"):
        to_dense(sparse, made, shape, 4, "top-k", inputs=inputs_of(shape), unit_score="taylor")
    resnet = StudentSettings(family="resnet", sparse=SPARSE)
    with pytest.raises(UserError, match="whose experts are convolutions"):
        to_dense(create_student(resnet, IMAGES, 4), resnet, IMAGES, 4, "sum")


def test_soft_routing_has_no_rows_of_its_own():
    settings = StudentSettings(family="vit", width=8, sparse={"num_experts": 2, "router": "soft"})
    torch.manual_seed(0)
    student = create_student(settings, IMAGES, 4)
    with pytest.raises(UserError, match="got soft routing"):
        to_dense(student, settings, IMAGES, 4, "least-squares", inputs=inputs_of(IMAGES))
    dense, _ = to_dense(student, settings, IMAGES, 4, "average")
    assert dense(inputs_of(IMAGES)).shape == (40, 4)
