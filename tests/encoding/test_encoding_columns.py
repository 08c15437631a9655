import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moist.data import TableSchema
from moist.encoding import Column, TableColumns
from moist.errors import UserError

COLUMNS = (Column("size", "numeric"), Column("colour", "categorical", ("3", "blue", "true")))


def test_rows_become_numbers_and_codes():
    rows = [
        {"size": 1, "colour": "blue", "more": "passed over"},
        {"size": " 2.5e1 ", "colour": " 3 "},
        {"size": None, "colour": 3.0},
        {"size": "?", "colour": True},
        {"size": np.float32(-4), "colour": "green"},
        {"size": float("nan"), "colour": "N/A"},
    ]
    encoded = TableColumns(COLUMNS).encode_rows(rows)
    assert encoded.dtype == np.float32
    nan = np.nan
    np.testing.assert_array_equal(encoded, [[1, 1], [25, 0], [nan, 0], [nan, 2], [-4, nan], [nan, nan]])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"size": 1, "color": "blue"}, "must have a column 'colour'.*Did you mean 'color'"),
        ({"size": "big", "colour": "blue"}, "column 'size' must hold numbers.*row 1 holds 'big'"),
        ({"size": "1_000", "colour": "blue"}, "must hold numbers"),
        ({"size": [1], "colour": "blue"}, "must hold numbers"),
        ({"size": 1e39, "colour": "blue"}, "fit in 32 bits"),
        ({"size": 10**400, "colour": "blue"}, "fit in 32 bits"),
        ({"size": "inf", "colour": "blue"}, "fit in 32 bits"),
    ],
)
def test_what_cannot_be_read_is_told(row, words):
    with pytest.raises(UserError, match=words):
        TableColumns(COLUMNS).encode_rows([row])


NUMBERS = st.none() | st.floats(-1e6, 1e6, width=32)
NAMES = st.none() | st.sampled_from(["3", "blue", " blue ", "true", "green", "?", "", "NA"])


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NAMES), min_size=1, max_size=5))
def test_rows_and_whole_tables_are_read_alike(values):
    rows = [{"size": number, "colour": name} for number, name in values]
    frame = {name: [row[name] for row in rows] for name in ("size", "colour")}
    schema = TableSchema(COLUMNS)
    np.testing.assert_array_equal(schema.encode_rows(rows), schema.encode_frame(frame))
