"""Weighted sums and symmetric equations, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from moist.estimators import least_squares
from moist.estimators.least_squares import solve_symmetric, weighted_gram


def test_the_weighted_sum_of_products_by_hand():
    # 2 (1, 3)(1, 3)ᵀ + 1 (1, -1)(1, -1)ᵀ
    gram = weighted_gram(np.array([[1.0, 3.0], [1.0, -1.0]]), np.array([2.0, 1.0]))
    assert gram == pytest.approx(np.array([[3.0, 5.0], [5.0, 19.0]]))


def test_pieces_add_up_to_the_whole(monkeypatch):
    random = np.random.default_rng(0)
    rows, weights = random.normal(size=(50, 4)), random.uniform(size=50)
    monkeypatch.setattr(least_squares, "ROWS_AT_ONCE", 7)
    assert weighted_gram(rows, weights) == pytest.approx((rows * weights[:, None]).T @ rows)


def test_of_many_rows_some_stand_for_all():
    random = np.random.default_rng(0)
    rows, weights = random.normal(size=(20_000, 3)), random.uniform(size=20_000)
    some = weighted_gram(rows, weights, most_rows=4000)
    assert some == pytest.approx(weighted_gram(rows, weights), abs=0.05 * weights.sum())
    # The constant's own sum is the whole weight.
    assert weighted_gram(np.ones((100, 1)), np.ones(100), most_rows=10)[0, 0] == pytest.approx(100)


def test_equal_inputs_share_the_solution():
    # x = z in every row: any split of the slope 2 fits, the shortest is 1 and 1.
    assert solve_symmetric(np.ones((2, 2)), np.array([2.0, 2.0])) == pytest.approx([1, 1])
