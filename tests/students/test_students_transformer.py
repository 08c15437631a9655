import torch

from moist.data import InputShape
from moist.evaluation import count_cost
from moist.students import StudentSettings, create_student

TEXT = InputShape("text", (6,), num_buckets=20)
SETTINGS = StudentSettings(family="transformer", width=8, depth=2, heads=2)


def test_padding_changes_nothing():
    student = create_student(SETTINGS, TEXT, 3).eval()
    short, padded = torch.tensor([[4, 9, 2]]), torch.tensor([[4, 9, 2, 0, 0, 0]])
    torch.testing.assert_close(student(short), student(padded), rtol=1e-4, atol=1e-6)


def test_an_empty_text_gives_finite_logits_and_gradients():
    student = create_student(SETTINGS, TEXT, 3)
    logits = student(torch.zeros(2, 6, dtype=torch.int64))
    logits.logsumexp(1).sum().backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in student.parameters())


def test_the_order_of_the_words_matters():
    student = create_student(SETTINGS, TEXT, 3).eval()
    assert not torch.allclose(student(torch.tensor([[4, 9, 2]])), student(torch.tensor([[2, 9, 4]])), atol=1e-7)


def test_macs_by_hand():
    student = create_student(SETTINGS, TEXT, 3)
    ids = torch.tensor([[4, 9, 2, 0, 0, 0]])
    # each block: 6 tokens through 3 + 1 + 4 + 4 products of 8 · 8; 2 heads of scores and values, 6 · 6 · 4 each
    block = 6 * 12 * 64 + 2 * 2 * 144
    assert count_cost(student, ids).macs == 3 * 8 + 2 * block + 8 * 3
