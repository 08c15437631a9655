import pytest
import torch
from stacked import assert_stacked_copies_agree

from moist.data import InputShape
from moist.evaluation import count_cost
from moist.students import StudentSettings, create_student
from moist.students.bag import NgramBag

TEXT = InputShape("text", (4,), num_buckets=19)
IDS = torch.tensor([[3, 5, 0, 0], [7, 0, 0, 0], [0, 0, 0, 0], [3, 3, 19, 1]])


def test_mean_and_sum_by_hand():
    bag = NgramBag(19, 6, "mean")
    weight = bag.embedding.weight
    output = bag(IDS)
    torch.testing.assert_close(output[0], (weight[3] + weight[5]) / 2)
    torch.testing.assert_close(output[1], weight[7])
    torch.testing.assert_close(output[2], torch.zeros(6))  # an empty text
    torch.testing.assert_close(output[3], (2 * weight[3] + weight[19] + weight[1]) / 4)
    bag.pooling = "sum"
    torch.testing.assert_close(bag(IDS)[0], weight[3] + weight[5])


def test_padding_stays_zero_under_training():
    student = create_student(StudentSettings(family="bag", width=4), TEXT, 3)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        student(IDS).logsumexp(1).sum().backward()
        optimizer.step()
    assert torch.equal(student.stages[0].embedding.weight[0], torch.zeros(4))


def test_macs_count_the_rows_that_are_read():
    student = create_student(StudentSettings(family="bag", width=4, depth=1), TEXT, 3)
    # 2 + 1 + 0 + 4 rows over 4 texts
    assert count_cost(student, IDS).macs == 7 / 4 * 4 + 16 + 12


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_stacked_copies_run_under_vmap(pooling):
    assert_stacked_copies_agree(StudentSettings(family="bag", width=4, depth=1, pooling=pooling), TEXT, IDS)
