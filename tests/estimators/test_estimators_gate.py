"""Trees of gates, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from moist.estimators.gate import TreeGate
from moist.estimators.sample import Sample


def test_a_gate_without_preference_is_uniform():
    gate = TreeGate.start(2, 3, np.zeros(2))
    assert gate.num_leaves == 9
    assert gate.coef_PDB.shape == (4, 2, 3)
    assert np.exp(gate.log_proba(np.ones((2, 2)))) == pytest.approx(np.full((2, 9), 1 / 9))


def test_a_leaf_has_the_product_along_its_path():
    # Root: 3/4 left. Left gate: 1/2 each. Right gate: 1/5 left. Leaves: 3/8, 3/8, 1/20, 4/20.
    shares = np.array([[3 / 4, 1 / 4], [1 / 2, 1 / 2], [1 / 5, 4 / 5]])
    gate = TreeGate(2, 2, np.log(shares)[:, None, :], np.zeros(1))
    assert np.exp(gate.log_proba(np.ones((1, 1))))[0] == pytest.approx([3 / 8, 3 / 8, 1 / 20, 1 / 5])


def test_each_gate_learns_the_sums_below_its_children():
    # Responsibilities 4, 3, 2, 1 of 10: the root sees 7 against 3, its children 4 against 3 and 2 against 1.
    one, gate = np.ones((1, 1)), TreeGate.start(2, 2, np.zeros(1))
    sample = Sample(one, one, np.zeros(1), np.array([10.0]))
    for _ in range(20):
        gate = gate.after([step() for step in gate.steps(sample, np.array([[4.0, 3.0, 2.0, 1.0]]))])
    assert np.exp(gate.log_proba(np.ones((1, 1))))[0] == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=1e-6)


def test_the_penalty_is_half_the_weighted_squares():
    gate = TreeGate(1, 2, np.array([[[5.0, 5.0], [1.0, 2.0]]]), np.array([0.0, 3.0]))
    assert gate.penalty == pytest.approx(0.5 * 3 * (1 + 4))
