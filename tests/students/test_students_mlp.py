import pytest
import torch
from stacked import assert_stacked_copies_agree

from moist.data import InputShape
from moist.evaluation import count_cost
from moist.students import StudentSettings, create_student
from moist.students.mlp import TableInput

TABLE = InputShape("tabular", (5,), num_categories=(4, 100))


def test_categories_are_embedded_beside_the_numbers():
    table = TableInput(1, (4, 100), None)
    assert [e.embedding_dim for e in table.embeddings] == [2, 8]  # ⌈√4⌉, and at most 8
    rows = torch.tensor([[0.5, 3.0, 99.0], [-1.0, 0.0, 0.0]])
    output = table(rows)
    assert output.shape == (2, table.out_features) == (2, 11)
    torch.testing.assert_close(output[0, :1], torch.tensor([0.5]))
    torch.testing.assert_close(output[0, 1:3], table.embeddings[0].weight[3])
    torch.testing.assert_close(output[0, 3:], table.embeddings[1].weight[99])
    # at first an unknown category says nothing
    torch.testing.assert_close(output[1], torch.tensor([-1.0] + [0.0] * 10))


def test_macs_by_hand():
    numbers = create_student(StudentSettings(family="mlp", width=8), InputShape("tabular", (16,)), 26)
    assert count_cost(numbers, torch.zeros(3, 16)).macs == 16 * 8 + 8 * 26
    mixed = create_student(StudentSettings(family="mlp", width=8, embedding_dim=3), TABLE, 2)
    # 3 numbers and two embeddings of 3, each read once
    assert count_cost(mixed, torch.zeros(3, 5)).macs == 6 + 9 * 8 + 8 * 2


@pytest.mark.parametrize("shape", [TABLE, InputShape("tabular", (5,)), InputShape("vision", (1, 8, 8))])
@pytest.mark.parametrize("depth", [0, 2])
def test_stacked_copies_run_under_vmap(shape, depth):
    rows = torch.randint(0, 4, (6, *shape.shape)).float()
    assert_stacked_copies_agree(StudentSettings(family="mlp", width=4, depth=depth), shape, rows)
