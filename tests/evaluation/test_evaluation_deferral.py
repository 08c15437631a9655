import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moist.evaluation import choose_threshold_for_cost
from moist.types import UserError

CONFIDENCE = np.array([0.9, 0.5, 0.7, 0.6])


def test_by_hand():
    # 10 + 100 · share: a mean of 60 allows half of the inputs, those under 0.7
    assert choose_threshold_for_cost(CONFIDENCE, 10, 100, 60) == 0.7
    assert choose_threshold_for_cost(CONFIDENCE, 10, 100, 59) == 0.6


def test_limits():
    assert choose_threshold_for_cost(CONFIDENCE, 10, 100, 10) == 0.5  # none is under it
    everything = choose_threshold_for_cost(np.array([1.0, 0.5]), 10, 100, 110)
    assert everything > 1.0
    assert json.loads(json.dumps(everything, allow_nan=False)) == everything
    assert choose_threshold_for_cost(CONFIDENCE, 10, 0, 10) > 1.0


def test_equal_confidences_go_together():
    assert choose_threshold_for_cost(np.array([0.5, 0.5, 0.5, 0.9]), 0, 1, 0.5) == 0.5


def test_an_impossible_target_is_refused():
    with pytest.raises(UserError, match="at least the cheap model's 10, got 9"):
        choose_threshold_for_cost(CONFIDENCE, 10, 100, 9)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.floats(0, 1))
def test_the_mean_cost_fits_and_no_larger_threshold_does(values, share):
    confidence = np.array(values, dtype=np.float32)
    threshold = choose_threshold_for_cost(confidence, 0.0, 1.0, share)
    assert (confidence < threshold).mean() <= share + 1e-6
    larger = confidence[confidence >= threshold]
    if len(larger):
        assert (confidence <= larger.min()).mean() > share - 1e-6
