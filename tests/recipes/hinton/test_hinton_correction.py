"""Biases that are changed after training, on four rows worked by hand."""

import pytest
import torch

from moist.recipes.hinton.correction import margins, matching_shift, optimal_shift, shift_classes

# Class 2 was never seen. Its rows, the last two, lie 1 and 4 behind; the others 5 and 3.
LOGITS = torch.tensor([[6.0, 0.0, 1.0], [0.0, 5.0, 2.0], [3.0, 1.0, 2.0], [2.0, 6.0, 2.0]])
TARGET = torch.tensor([0, 1, 2, 2])


def test_margins_are_what_a_class_lacks():
    assert margins(LOGITS, (2,)).tolist() == [5, 3, 1, 4]
    # Of two classes the better one counts: 0 and 1 lead by 5, 3, 1, 4.
    assert margins(LOGITS, (0, 1)).tolist() == [-5, -3, -1, -4]


def test_a_shift_moves_the_named_classes_alone():
    shifted = shift_classes(LOGITS, (2,), 2.0)
    assert (shifted - LOGITS).tolist() == [[0, 0, 2]] * 4
    assert shifted.argmax(dim=1).tolist() == [0, 1, 2, 1]


def test_the_matching_shift_gives_the_class_its_share():
    shift = matching_shift(LOGITS, (2,), 0.5)  # half way between the limits 3 and 4
    assert shift == pytest.approx(3.5)
    assert (shift_classes(LOGITS, (2,), shift).argmax(dim=1) == 2).float().mean() == 0.5


def test_the_optimal_shift_has_the_fewest_errors():
    # Errors between the limits 1, 3, 4 and 5: 1 (row 4), 2 (row 2 too), 1. The first interval is 1 to 3.
    assert optimal_shift(LOGITS, TARGET, (2,)) == pytest.approx(2.0)


def test_rows_with_the_same_limit_are_not_torn_apart():
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [3.0, 0.0], [9.0, 0.0]])
    # Passing 2 mends row 1 and spoils row 2; passing 3 mends row 3: best between 3 and 9.
    assert optimal_shift(logits, torch.tensor([1, 0, 1, 0]), (1,)) == pytest.approx(6.0)
