from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moist.evaluation import gap_recovered, interpolate_macs_at_accuracy

FRONTIER = [(100.0, 0.70), (400.0, 0.80), (1600.0, 0.90)]


def test_interpolation_is_linear_in_log_cost():
    # half-way in accuracy between 100 and 400 is their geometric mean
    assert interpolate_macs_at_accuracy(FRONTIER, 0.75) == pytest.approx(sqrt(100 * 400))
    assert interpolate_macs_at_accuracy(FRONTIER, 0.80) == pytest.approx(400)
    assert interpolate_macs_at_accuracy(FRONTIER, 0.90) == pytest.approx(1600)


def test_outside_the_frontier():
    assert interpolate_macs_at_accuracy(FRONTIER, 0.901) is None
    assert interpolate_macs_at_accuracy(FRONTIER, 0.70) == 100
    assert interpolate_macs_at_accuracy(FRONTIER, 0.50) == 100  # an upper bound
    assert interpolate_macs_at_accuracy([], 0.5) is None


def test_a_larger_student_that_does_worse_is_passed_over():
    noisy = [*FRONTIER, (800.0, 0.78), (400.0, 0.75)]
    assert interpolate_macs_at_accuracy(noisy[::-1], 0.85) == pytest.approx(sqrt(400 * 1600))


@given(
    st.lists(st.tuples(st.floats(1, 1e6), st.floats(0, 1)), min_size=1, max_size=6), st.floats(0, 1), st.floats(0, 1)
)
def test_more_accuracy_never_costs_less(frontier, first, second):
    low, high = sorted([first, second])
    cheap = interpolate_macs_at_accuracy(frontier, low)
    dear = interpolate_macs_at_accuracy(frontier, high)
    assert dear is None or (cheap is not None and cheap <= dear * (1 + 1e-9))


def test_gap_recovered():
    assert gap_recovered(mixture=0.88, student=0.80, teacher=0.90) == pytest.approx(0.8)
    assert gap_recovered(mixture=0.78, student=0.80, teacher=0.90) == pytest.approx(-0.2)
    assert gap_recovered(mixture=0.9, student=0.8, teacher=0.8) is None
