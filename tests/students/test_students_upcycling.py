"""Dense students become sparse ones that answer alike; and what the optimiser remembers comes along."""

import pytest
import torch

from moist.data import InputShape
from moist.moe import Experts, SparseSettings, carry_optimizer_state, mlp_expert, upcycle
from moist.students import StudentSettings, create_student, dense_origins, upcycle_student
from moist.types import UserError

SPARSE = SparseSettings(num_experts=3, top_k=2, combine="renormalize")
TABLE = InputShape("tabular", (6,))
TEXT = InputShape("text", (7,), num_buckets=20)
CASES = [
    (StudentSettings(family="mlp", width=10, depth=2), TABLE),
    (StudentSettings(family="transformer", width=8), TEXT),
    (StudentSettings(family="vit", width=8), InputShape("vision", (3, 8, 8))),
]


def inputs_of(shape):
    if shape.kind == "text":
        return torch.tensor([[3, 5, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7]])
    return torch.randn(9, *shape.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("settings", "shape"), CASES, ids=lambda case: getattr(case, "family", ""))
@pytest.mark.parametrize("router", ["top-k", "noisy-top-k", "gshard"])
def test_the_output_is_the_same_at_the_start(settings, shape, router):
    torch.manual_seed(0)
    dense = create_student(settings, shape, 4).eval()
    sparse, made = upcycle_student(dense, settings, SPARSE.model_copy(update={"router": router}), shape, 4)
    assert made.sparse.router == router
    torch.testing.assert_close(sparse.eval()(inputs_of(shape)), dense(inputs_of(shape)))


def test_noise_parts_the_experts_a_little():
    settings, shape = CASES[1]
    torch.manual_seed(0)
    dense = create_student(settings, shape, 4).eval()
    sparse, _ = upcycle_student(dense, settings, SPARSE, shape, 4, noise=0.01)
    first, second, _ = sparse.sparse_layers[0].experts.members
    assert not torch.equal(first[0].weight, second[0].weight)
    gap = (sparse.eval()(inputs_of(shape)) - dense(inputs_of(shape))).abs().max()
    assert 0 < gap < 0.05


def test_blocks_may_stay_dense():
    settings, shape = CASES[1]
    dense = create_student(settings, shape, 4).eval()
    sparse, _ = upcycle_student(dense, settings, SPARSE.model_copy(update={"blocks": "last"}), shape, 4)
    assert len(sparse.sparse_layers) == 1
    torch.testing.assert_close(sparse.eval()(inputs_of(shape)), dense(inputs_of(shape)))


@pytest.mark.parametrize(
    "change", [{"combine": "probability"}, {"top_k": 1}, {"router": "soft"}, {"capacity_factor": 1.0}]
)
def test_routers_that_would_change_the_output_are_refused(change):
    settings, shape = CASES[1]
    dense = create_student(settings, shape, 4)
    with pytest.raises(UserError, match="weights that sum to 1 over at least 2 experts"):
        upcycle_student(dense, settings, SPARSE.model_copy(update=change), shape, 4)


def test_students_that_cannot_be_upcycled_are_refused():
    settings, shape = CASES[1]
    sparse, made = upcycle_student(create_student(settings, shape, 4), settings, SPARSE, shape, 4)
    with pytest.raises(UserError, match="takes a dense student"):
        upcycle_student(sparse, made, SPARSE, shape, 4)
    with pytest.raises(UserError, match="family 'resnet' does not have"):
        upcycle_student(sparse, StudentSettings(family="resnet"), SPARSE, shape, 4)


def test_the_optimisers_state_comes_along():
    settings, shape = CASES[0]
    torch.manual_seed(0)
    dense = create_student(settings, shape, 4)
    old = torch.optim.AdamW(dense.parameters(), lr=0.01)
    for _ in range(3):
        old.zero_grad()
        dense(inputs_of(shape)).square().sum().backward()
        old.step()
    sparse, _ = upcycle_student(dense, settings, SPARSE, shape, 4)
    new = torch.optim.AdamW(sparse.parameters(), lr=0.01)
    names = dense_origins(sparse)
    origins = {sparse.get_parameter(name): dense.get_parameter(origin) for name, origin in names.items()}
    carry_optimizer_state(old, new, origins)
    for parameter, origin in origins.items():
        assert torch.equal(new.state[parameter]["exp_avg"], old.state[origin]["exp_avg"])
        assert new.state[parameter]["exp_avg"] is not old.state[origin]["exp_avg"]
        assert new.state[parameter]["step"] == 3
    assert sparse.sparse_layers[0].router.gate.weight not in new.state
    sparse(inputs_of(shape)).square().sum().backward()
    new.step()


def test_a_fused_optimiser_goes_on_where_the_dense_one_was():
    torch.manual_seed(0)
    dense, inputs = mlp_expert(4, 6), torch.randn(8, 4)
    old = torch.optim.AdamW(dense.parameters(), lr=0.1, fused=True)

    def step(network, optimizer):
        optimizer.zero_grad()
        network(inputs).square().sum().backward()
        optimizer.step()

    step(dense, old)
    (made,) = Experts(upcycle(dense, 1)).members
    new = torch.optim.AdamW(made.parameters(), lr=0.1, fused=True)
    carry_optimizer_state(old, new, dict(zip(made.parameters(), dense.parameters())))
    step(dense, old)
    step(made, new)
    for ours, theirs in zip(made.parameters(), dense.parameters()):
        torch.testing.assert_close(ours, theirs)


def test_optimisers_of_two_kinds_are_refused():
    dense = torch.nn.Linear(1, 1)
    with pytest.raises(UserError, match="of one class, got SGD and Adam"):
        carry_optimizer_state(torch.optim.SGD(dense.parameters()), torch.optim.Adam(dense.parameters()), {})


def test_noise_below_zero_is_refused():
    with pytest.raises(UserError, match="noise must be at least 0, got -1"):
        upcycle(torch.nn.Linear(1, 1), 2, noise=-1)
