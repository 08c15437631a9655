import numpy as np
import pytest

from moist.teachers import match_classes
from moist.teachers.labels import LOG_FLOOR, spread_columns
from moist.types import UserError


def test_columns_follow_the_data_s_order_whatever_the_spelling() -> None:
    columns = match_classes(["Dog_House", "CAT", " bird"], ["cat", "bird", "dog house"], "t")
    assert columns.tolist() == [1, 2, 0]


def test_names_that_differ_in_case_alone_are_told_apart_exactly() -> None:
    assert match_classes(["b", "B"], ["B", "b"], "t").tolist() == [1, 0]


def test_a_mismatch_shows_both_lists() -> None:
    with pytest.raises(
        UserError, match=r"'t' has 2: \[cat, dog\]; the data have 3: \[cat, cow, dog\]; .*teacher.classes"
    ):
        match_classes(["cat", "dog"], ["cat", "cow", "dog"], "t")


def test_data_without_names_take_the_teacher_s_order() -> None:
    assert match_classes(["x", "y"], [], "t").tolist() == [0, 1]


def test_a_class_that_was_never_seen_is_at_the_floor() -> None:
    spread = spread_columns(np.array([[-1.0, -2.0]]), np.array([2, 0]), 3)
    assert spread.tolist() == [[-2.0, np.float32(LOG_FLOOR), -1.0]]
