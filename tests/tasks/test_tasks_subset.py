"""Specialists of some classes: collapsed teachers and renumbered labels."""

import torch
from torch import nn

from moist.tasks import LossSettings, SubsetTask, collapse_logits
from moist.types import Batch, TeacherSignal

CLASSES = torch.tensor([1, 3])


def batch(target):
    rows = torch.arange(len(target))
    return Batch(rows, torch.zeros_like(rows), torch.eye(len(target)), torch.tensor(target))


def test_the_dustbin_has_the_others_probability():
    logits = torch.tensor([[0.5, 1.0, -1.0, 2.0]])
    whole = logits.softmax(dim=1)
    expected = torch.stack([whole[0, 1], whole[0, 3], whole[0, 0] + whole[0, 2]])
    torch.testing.assert_close(collapse_logits(logits, CLASSES).softmax(dim=1)[0], expected)


def test_labels_are_renumbered_and_others_are_the_dustbin():
    student = nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        student.weight.zero_()
        student.weight[0, 0] = student.weight[1, 1] = student.weight[2, 2] = student.weight[2, 3] = 9.0
    settings = LossSettings(hard_weight=1.0)
    task = SubsetTask(student, lambda rows: TeacherSignal(torch.zeros(4, 4)), settings, CLASSES, 4)
    # Classes 1 and 3 are the specialist's outputs 0 and 1; 0 and 2 its dustbin, output 2.
    values = task(batch([1, 3, 0, 2]), 0.0)
    assert values["accuracy"] == 1.0
    assert values["loss"] < 1e-3


def test_a_student_that_says_what_the_teacher_says_has_no_loss():
    logits = torch.randn(4, 4)
    student = nn.Module()
    student.forward = lambda inputs: collapse_logits(logits, CLASSES)
    settings = LossSettings(hard_weight=0.0, temperature=2.0)
    task = SubsetTask(student, lambda rows: TeacherSignal(logits), settings, CLASSES, 4)
    torch.testing.assert_close(task(batch([0, 1, 2, 3]), 0.0)["loss"], torch.tensor(0.0), atol=1e-5, rtol=0)
