"""Where specialists help, worked by hand."""

import numpy as np
import pytest
import torch

from moist.recipes.hinton.coverage import conditional_accuracy, gain_by_coverage
from moist.recipes.hinton.specialist_networks import fit_biases

SETS = np.array([[0, 1], [1, 2]])  # class 0 is known to one specialist, 1 to both, 2 to one, 3 to none


def test_gains_are_counted_by_how_many_know_the_class():
    target = np.array([0, 1, 1, 1, 2, 3])
    before = np.array([True, False, False, True, True, True])
    after = np.array([True, True, True, False, True, True])
    table = gain_by_coverage(before, after, target, SETS)
    assert [(row["covering"], row["examples"], row["before"], row["change"]) for row in table] == [
        (0, 1, 1, 0),
        (1, 2, 2, 0),
        (2, 3, 1, 1),
    ]
    assert table[2]["relative_gain"] == 1.0


def test_conditional_accuracy_chooses_among_the_specialists_classes():
    target = np.array([0, 1, 2, 3])
    # Among 0 and 1 it says 0, 0; among 1 and 2 it says 1, 2; the classes outside do not matter.
    general = np.array([[2.0, 1.0, 9.0, 9.0], [2.0, 1.0, 0.0, 9.0], [9.0, 0.0, 1.0, 9.0], [0.0, 0.0, 0.0, 9.0]])
    first = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])  # says 0, 1 on its own rows
    second = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0]])  # says 2, 2 on its own rows
    scores = conditional_accuracy(general, [first, second], target, SETS)
    # Rows 0 and 1 for the first, rows 1 and 2 for the second specialist.
    assert scores["examples"] == 4
    assert scores["generalist"] == pytest.approx(3 / 4)
    assert scores["specialists"] == pytest.approx(3 / 4)


def test_fitted_biases_make_up_for_what_a_model_says_too_much():
    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 3, generator=random)
    target = torch.multinomial(logits.softmax(dim=1), 1, generator=random)[:, 0]
    found = fit_biases(logits + torch.tensor([1.5, 0.0, 0.0]), target)
    torch.testing.assert_close(found - found[1], torch.tensor([-1.5, 0.0, 0.0]), atol=0.15, rtol=0)
