"""Expert probing, worked by hand."""

import numpy as np
import pytest

from moist.evaluation import probe_experts
from moist.types import UserError

# Four examples of classes 0, 0, 1, 1; expert 0 knows class 0, expert 1 class 1, the third nothing
TARGET = np.array([0, 0, 1, 1])
CLASSES = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2]])


def test_worked_by_hand():
    # The gate gives examples 0, 1, 2 to expert 0 and example 3 to expert 1
    probe = probe_experts(CLASSES, np.array([0, 0, 0, 1]), np.array([0, 0, 0, 1]), TARGET)
    assert probe.sizes.tolist() == [3, 1, 0]
    np.testing.assert_allclose(probe.accuracy[:, 0], [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(probe.accuracy[:, 1], [0, 1, 0])
    assert np.isnan(probe.accuracy[:, 2]).all()
    assert probe.whole.tolist() == [0.5, 0.5, 0.0]
    assert probe.mixed == 0.75
    # Some expert is right on every example, the gate's on three of four
    assert probe.gate_accuracy == 0.75
    assert probe.own_mean == 0.75
    assert probe.disagreement == 1.0


def test_examples_that_nobody_solves_do_not_blame_the_gate():
    probe = probe_experts(CLASSES[:, :2], np.array([0, 0]), np.array([0, 0]), np.array([0, 9]))
    assert probe.gate_accuracy == 1.0


def test_equal_experts_agree():
    probe = probe_experts(CLASSES[[0, 0]], TARGET, np.array([0, 1, 0, 1]), TARGET)
    assert probe.disagreement == 0


def test_one_expert_has_no_other_to_differ_from():
    assert probe_experts(CLASSES[:1], TARGET, np.zeros(4, dtype=int), TARGET).disagreement == 0


def test_shapes_must_agree():
    with pytest.raises(UserError, match=r"got \(3, 4\), \(4,\), \(3,\), \(4,\)"):
        probe_experts(CLASSES, TARGET, TARGET[:3], TARGET)
