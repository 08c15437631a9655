"""Numbers in words."""

from __future__ import annotations

import math

import pytest

from moist.report.wording import (
    ABSENT,
    bytes_text,
    count_text,
    mean_std,
    milliseconds_text,
    number,
    plain_text,
    seconds_text,
    shorten,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ABSENT),
        (0, "0"),
        (804, "804"),
        (999.4, "999"),
        (999.6, "1 k"),
        (5630, "5.63 k"),
        (3_240_000, "3.24 M"),
        (125_500_000, "126 M"),
        (13.6e9, "13.6 G"),
    ],
)
def test_counts_keep_three_digits(value: float | None, text: str) -> None:
    assert count_text(value) == text


def test_sizes_and_durations() -> None:
    assert bytes_text(960) == "960 B"
    assert bytes_text(22_520) == "22.5 kB"
    assert milliseconds_text(0.0312) == "31 µs"
    assert milliseconds_text(2.4) == "2.4 ms"
    assert seconds_text(4.21) == "4.2 s"
    assert seconds_text(93.2) == "1 min 33 s"
    assert seconds_text(7500) == "2 h 05 min"


def test_number_finds_the_mean_and_refuses_what_is_none() -> None:
    assert number({"mean": 0.5, "std": None}) == 0.5
    assert number({"batch_1": {"median": 0.25}}) == 0.25
    assert number({"mean": None}) is None
    assert number(math.nan) is None
    assert number(True) is None
    assert number("many") is None


def test_one_seed_has_no_spread() -> None:
    assert mean_std({"mean": 0.5, "std": 0.0, "values": [0.5]}) == (0.5, None)
    assert mean_std({"mean": 0.5, "std": 0.1, "values": [0.4, 0.6]}) == (0.5, 0.1)
    assert mean_std(0.5) == (0.5, None)
    assert mean_std(None) == (None, None)


def test_shorten_makes_one_printable_line() -> None:
    assert shorten("a\n\tb\x00c", 10) == "a b c"
    assert shorten("abcdefgh", 5) == "abcd…"
    assert shorten("bad \ud800 half", 20) == "bad half"


def test_plain_text_leaves_out_what_is_absent() -> None:
    assert plain_text({"cores": 4, "accelerator": None}) == "cores 4"
    assert plain_text([0, 1, 2]) == "0, 1, 2"
    assert plain_text({}) == ABSENT
