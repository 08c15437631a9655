"""Losses between a student and a teacher: values worked by hand, limits, gradients."""

from math import log

import pytest
import torch
from torch.autograd import gradcheck

from moist.losses import dist_loss, dkd_loss, kd_loss, soft_cross_entropy, standardize_logits


def logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def probabilities(*rows):
    """Logits whose softmax is the given rows."""
    return torch.tensor(rows, dtype=torch.float64).log()


TARGET = torch.tensor([0, 2, 3, 1])


def test_soft_cross_entropy_worked_by_hand():
    # -(0.25 log 0.5 + 0.75 log 0.5) = log 2, whatever the target
    value = soft_cross_entropy(probabilities([0.5, 0.5]), torch.tensor([[0.25, 0.75]]))
    assert value.item() == pytest.approx(log(2))


def test_soft_cross_entropy_of_a_one_hot_target_is_the_usual_one():
    student = logits(4, 5)
    one_hot = torch.nn.functional.one_hot(TARGET, 5).double()
    usual = torch.nn.functional.cross_entropy(student, TARGET)
    torch.testing.assert_close(soft_cross_entropy(student.log_softmax(1), one_hot), usual)


def test_soft_cross_entropy_gradient():
    target = logits(4, 5, seed=1).softmax(1)
    assert gradcheck(lambda s: soft_cross_entropy(s.log_softmax(1), target), logits(4, 5).requires_grad_())


def test_kd_worked_by_hand():
    # student (1/2, 1/2), teacher (3/4, 1/4): KL = 0.75 log 1.5 + 0.25 log 0.5 = 0.304099 - 0.173287 = 0.130812
    student, teacher = probabilities([0.5, 0.5]), probabilities([0.75, 0.25])
    assert kd_loss(student, teacher, temperature=1).item() == pytest.approx(0.130812, abs=1e-6)
    # twice the logits at twice the temperature: the same KL, times T² = 4
    assert kd_loss(2 * student, 2 * teacher, temperature=2).item() == pytest.approx(0.523248, abs=1e-6)


def test_kd_is_the_mean_over_examples():
    student, teacher = logits(4, 5), logits(4, 5, seed=1)
    each = [kd_loss(student[n : n + 1], teacher[n : n + 1]) for n in range(4)]
    torch.testing.assert_close(kd_loss(student, teacher), torch.stack(each).mean())


def test_kd_of_equal_logits_is_zero():
    assert kd_loss(logits(4, 5), logits(4, 5) + 3).item() == pytest.approx(0, abs=1e-12)


def test_kd_at_a_high_temperature_matches_centred_logits():
    # T² KL tends to the sum of squares of the centred difference, over 2 C (Hinton et al. 2015, section 2.1)
    student, teacher = logits(4, 5), logits(4, 5, seed=1)
    difference = (student - teacher) - (student - teacher).mean(dim=1, keepdim=True)
    limit = difference.square().sum(dim=1).mean() / (2 * 5)
    assert kd_loss(student, teacher, temperature=1e4).item() == pytest.approx(limit.item(), rel=1e-3)


def test_kd_gradient():
    assert gradcheck(lambda s: kd_loss(s, logits(4, 5, seed=1)), logits(4, 5).requires_grad_())


def test_standardize_worked_by_hand():
    # mean 2, standard deviation √((1 + 0 + 1) / 2) = 1
    torch.testing.assert_close(standardize_logits(torch.tensor([[1.0, 2.0, 3.0]])), torch.tensor([[-1.0, 0.0, 1.0]]))


def test_standardize_does_not_see_shift_or_scale():
    torch.testing.assert_close(standardize_logits(5 * logits(4, 5) + 7), standardize_logits(logits(4, 5)))


def test_standardize_of_equal_logits_is_zero_and_has_a_finite_gradient():
    constant = torch.zeros(2, 3, requires_grad=True)
    result = standardize_logits(constant)
    result.square().sum().backward()
    assert result.abs().max() == 0
    assert constant.grad.isfinite().all()


def test_standardize_gradient():
    assert gradcheck(standardize_logits, logits(4, 5).requires_grad_())


def test_dkd_worked_by_hand():
    # Target 0. Teacher (1/2, 1/4, 1/4), student (1/4, 1/2, 1/4).
    # Target against the rest: 0.5 log(0.5 / 0.25) + 0.5 log(0.5 / 0.75) = 0.346574 - 0.202733 = 0.143841
    # Among the others: teacher (1/2, 1/2), student (2/3, 1/3): 0.5 log 0.75 + 0.5 log 1.5 = 0.058892
    student, teacher = probabilities([0.25, 0.5, 0.25]), probabilities([0.5, 0.25, 0.25])
    value = dkd_loss(student, teacher, torch.tensor([0]), temperature=1, alpha=1, beta=2)
    assert value.item() == pytest.approx(0.143841 + 2 * 0.058892, abs=2e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dkd_is_kd_taken_apart(temperature):
    # Equation 6 of the paper: KD = TCKD + (1 - p_target) NCKD, for each example by itself
    student, teacher = logits(4, 5), logits(4, 5, seed=1)
    for n in range(4):
        one = slice(n, n + 1)
        beta = 1 - (teacher[n] / temperature).softmax(0)[TARGET[n]].item()
        apart = dkd_loss(student[one], teacher[one], TARGET[one], temperature, alpha=1, beta=beta)
        torch.testing.assert_close(apart, kd_loss(student[one], teacher[one], temperature))


def test_dkd_of_two_classes_has_only_the_binary_part():
    student, teacher, target = logits(4, 2), logits(4, 2, seed=1), torch.tensor([0, 1, 1, 0])
    torch.testing.assert_close(dkd_loss(student, teacher, target, beta=100), kd_loss(student, teacher))


def test_dkd_stays_finite_where_the_teacher_is_certain():
    certain = torch.tensor([[1000.0, 0.0, 0.0]])
    student = torch.zeros(1, 3, requires_grad=True)
    value = dkd_loss(student, certain, torch.tensor([0]), temperature=1)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_dkd_gradient():
    assert gradcheck(lambda s: dkd_loss(s, logits(4, 5, seed=1), TARGET), logits(4, 5).requires_grad_())


def test_dist_worked_by_hand():
    # One example: student (0.5, 0.3, 0.2), teacher (0.5, 0.2, 0.3); less the mean 1/3, in thirtieths:
    # (5, -1, -4) and (5, -4, -1): correlation (25 + 4 + 4) / (25 + 1 + 16) = 33 / 42, so the loss is 9 / 42
    student, teacher = probabilities([0.5, 0.3, 0.2]), probabilities([0.5, 0.2, 0.3])
    assert dist_loss(student, teacher, temperature=1, gamma=0).item() == pytest.approx(9 / 42)


def test_dist_of_opposites_is_the_largest():
    # Rows and columns correlate with -1: T² (beta · 2 + gamma · 2)
    student = probabilities([0.75, 0.25], [0.25, 0.75])
    assert dist_loss(student, student.flip(0), temperature=1, beta=1, gamma=3).item() == pytest.approx(8)


def test_dist_of_equal_logits_is_zero():
    assert dist_loss(logits(4, 5), logits(4, 5) - 2).item() == pytest.approx(0, abs=1e-12)


def test_dist_gradient():
    assert gradcheck(lambda s: dist_loss(s, logits(4, 5, seed=1)), logits(4, 5).requires_grad_())
