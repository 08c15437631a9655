"""The shared words."""

import dataclasses

import pytest

from moist.types import Cost, UserError


def test_costs_add_up():
    assert Cost(1.5, 2, 3) + Cost(1.0, 20, 30) == Cost(2.5, 22, 33)


def test_words_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Cost(1, 2, 3).macs = 4


def test_an_error_of_the_user_is_a_value_error():
    with pytest.raises(ValueError, match="rule, value, remedy"):
        raise UserError("rule, value, remedy")
