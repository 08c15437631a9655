"""Training networks with experts: the parts of the loss, biases that rebalance, experts that learn from each other."""

import pytest
import torch
import torch.nn.functional as F

from moist.data import InputShape
from moist.losses import mutual_distillation_loss
from moist.moe import SparseSettings, router_loss
from moist.students import StudentSettings, create_student
from moist.tasks import MoETask, MutualSettings, MutualTask
from moist.types import Batch, UserError

SHAPE = InputShape("tabular", (5,))


def batch(labelled=True, count=16):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(count, 5, generator=generator)
    target = torch.randint(3, (count,), generator=generator)
    return Batch(torch.arange(count), torch.zeros(count, dtype=torch.int64), rows, target if labelled else None)


def student_of(sparse=None):
    torch.manual_seed(0)
    return create_student(StudentSettings(family="mlp", width=6, sparse=sparse), SHAPE, 3)


def test_a_dense_network_is_trained_on_its_labels_alone():
    student = student_of()
    values = MoETask(student, None)(batch(), 0.0)
    torch.testing.assert_close(values["loss"], F.cross_entropy(student(batch().inputs), batch().target))
    assert set(values) == {"loss", "accuracy"}


def test_the_routers_losses_come_on_top():
    sparse = SparseSettings(num_experts=3, balance={"load_balancing": 0.5, "z": 0.1})
    student = student_of(sparse)
    values = MoETask(student, sparse)(batch(), 0.0)
    logits, facts = student.forward_facts(batch().inputs)
    expected = F.cross_entropy(logits, batch().target) + router_loss(facts[0].routing, sparse)
    torch.testing.assert_close(values["loss"], expected)
    assert values["overflow"] == values["unserved"] == 0


@pytest.mark.parametrize("form", ["squared", "kl"])
@pytest.mark.parametrize("among", ["all", "chosen"])
def test_mutual_distillation_comes_on_top(form, among):
    sparse = SparseSettings(num_experts=3, top_k=2)
    student = student_of(sparse)
    mutual = MutualSettings(weight=0.7, form=form, among=among)
    values = MutualTask(student, sparse, mutual)(batch(), 0.0)
    plain = MoETask(student, sparse)(batch(), 0.0)
    outputs = student.forward_facts(batch().inputs, among)[1][0].expert_outputs
    assert outputs.shape == ({"all": 3, "chosen": 2}[among], 16, 3)
    torch.testing.assert_close(values["loss"], plain["loss"] + 0.7 * mutual_distillation_loss(outputs, form))
    assert values["disagreement"] > 0


def test_mutual_distillation_makes_experts_alike():
    sparse = SparseSettings(num_experts=3, top_k=1)
    student = student_of(sparse)
    task = MutualTask(student, sparse, MutualSettings(weight=10.0))
    optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
    first = task(batch(), 0.0)["disagreement"].item()
    for _ in range(30):
        optimizer.zero_grad()
        values = task(batch(), 0.0)
        values["loss"].backward()
        optimizer.step()
    assert values["disagreement"].item() < first / 5


def test_experts_that_were_not_chosen_learn_from_the_others():
    sparse = SparseSettings(num_experts=3, top_k=1)
    student = student_of(sparse)
    one = batch(count=1)
    MoETask(student, sparse)(one, 0.0)["loss"].backward()
    members = student.sparse_layers[0].experts.members
    assert sum(member[0].weight.grad is not None for member in members) == 1
    MutualTask(student, sparse, MutualSettings())(one, 0.0)["loss"].backward()
    assert all(member[0].weight.grad is not None for member in members)


def test_biases_move_in_training_alone():
    sparse = SparseSettings(num_experts=3, top_k=1, router="bias-balanced")
    student = student_of(sparse)
    task, router = MoETask(student, sparse), student.sparse_layers[0].router
    task.eval()(batch(), 0.0)
    assert not router.bias_E.any()
    task.train()(batch(), 0.0)
    assert router.bias_E.any()


def test_refused():
    sparse = SparseSettings(num_experts=3, top_k=1)
    with pytest.raises(UserError, match="needs data with labels, got none"):
        MoETask(student_of(), None)(batch(labelled=False), 0.0)
    with pytest.raises(UserError, match="needs at least 2 experts, got a dense network"):
        MutualTask(student_of(), None, MutualSettings())
    with pytest.raises(UserError, match="'chosen' needs at least 2 experts for every input"):
        MutualTask(student_of(sparse), sparse, MutualSettings(among="chosen"))
