"""A teacher's units in a smaller network: nothing is lost where the others say nothing new."""

import torch
from torch import nn

from moist.recipes.hinton.shrinking import shrink_into


def perceptron(width):
    return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))


def teacher_of_twins():
    """Four units a layer and their weaker twins: a tenth of the activation, read with a tenth of the weight."""
    teacher = perceptron(8)
    with torch.no_grad():
        for layer in (teacher[0], teacher[2]):
            layer.bias[:4] = 0.5
            layer.bias[4:] = 0.05
        for layer in (teacher[2], teacher[4]):
            layer.weight[:, 4:] = layer.weight[:, :4] / 10
        for layer in (teacher[0], teacher[2]):
            layer.weight[4:] = layer.weight[:4] / 10
    return teacher


def test_units_that_say_nothing_new_are_not_missed():
    torch.manual_seed(0)
    teacher, student, inputs = teacher_of_twins(), perceptron(4), torch.randn(400, 5)
    shrink_into(student, teacher, inputs)
    torch.testing.assert_close(student(inputs), teacher(inputs), rtol=0.01, atol=0.002)
    torch.testing.assert_close(student[0].weight, teacher[0].weight[:4])


def test_a_unit_that_matters_less_is_predicted():
    torch.manual_seed(0)
    teacher, student, inputs = perceptron(8), perceptron(6), torch.randn(400, 5)
    shrink_into(student, teacher, inputs)
    refitted = (student(inputs) - teacher(inputs)).square().mean()
    with torch.no_grad():
        kept = (student[0].weight[:, None] == teacher[0].weight).all(dim=2).int().argmax(dim=1)
        hidden = teacher[:2](inputs)
        importance = hidden.square().mean(dim=0) * teacher[2].weight.square().sum(dim=0)
    assert set(kept.tolist()) == set(importance.topk(6).indices.tolist())
    assert refitted < (teacher(inputs) - teacher(inputs).mean(dim=0)).square().mean() / 4
