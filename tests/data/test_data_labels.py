import numpy as np
import pyarrow as pa
import pytest

from moist.data.labels import RawLabels, fit_labels, without_hidden
from moist.types import UserError


def raw(values, names=None):
    return RawLabels(values if isinstance(values, pa.Array) else pa.array(values), names, "the label column")


@pytest.mark.parametrize(
    ("labels", "classes", "expected_classes", "expected"),
    [
        (raw([2, 0, 2]), None, ("0", "2"), [1, 0, 1]),
        (raw([10, 9, 10]), None, ("9", "10"), [1, 0, 1]),
        (raw([1.0, 2.0]), None, ("1", "2"), [0, 1]),
        (raw([True, False]), None, ("false", "true"), [1, 0]),
        (raw(["no", " yes", "no"]), None, ("no", "yes"), [0, 1, 0]),
        (raw([1, 0], ("cat", "dog", "owl")), None, ("cat", "dog", "owl"), [1, 0]),
        (raw([1, 0], ("cat", "dog")), ["dog", "cat"], ("dog", "cat"), [0, 1]),
        (raw([1, 0, 1]), ["cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        (raw(["1", "0"]), ["cat", "dog"], ("cat", "dog"), [1, 0]),
        (raw([7, 5, 7]), ["cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        (raw([1, 0]), ["1", "0"], ("1", "0"), [0, 1]),
        (raw(pa.array(["b", "a"]).dictionary_encode()), None, ("a", "b"), [1, 0]),
    ],
)
def test_labels_of_every_form_are_numbered(labels, classes, expected_classes, expected):
    space = fit_labels(labels, classes)
    assert space.classes == expected_classes
    numbers = space.number(labels)
    assert numbers.dtype == np.int64
    assert numbers.tolist() == expected


def test_another_split_may_name_its_numbers_in_another_order():
    space = fit_labels(raw([0, 1], ("cat", "dog")), None)
    assert space.number(raw([0, 1, 1], ("dog", "cat"))).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (raw([0, None, 1]), r"1 of 3 in the label column have none \(first: row 2\)"),
        (raw([0.0, float("nan")]), "have none"),
        (raw(["a", " "]), "have none"),
        (raw([0.5, 1.0]), "whole numbers.*0.5"),
        (raw([0, 5], ("a", "b")), "must be 0 to 1.*got 5"),
        (raw(list(range(3000))), "3000 different values in 3000 rows"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, message):
    with pytest.raises(UserError, match=message):
        fit_labels(labels, None)


def test_a_foreign_class_shows_both_lists():
    space = fit_labels(raw(["a", "b"]), None)
    with pytest.raises(UserError, match=r"also has \[c\], the classes are \[a, b\]"):
        space.number(raw(["a", "c"]))


def test_too_few_class_names_show_both_lists():
    with pytest.raises(UserError, match=r"3 labels \[0, 1, 2\].*names 2: \[x, y\]"):
        fit_labels(raw([0, 1, 2]), ["x", "y"])


def test_hidden_labels_count_as_none():
    assert without_hidden(raw([-1, -1])) is None
    assert without_hidden(raw([-1, 0])) is not None
