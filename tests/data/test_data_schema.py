import json

import numpy as np
import pyarrow as pa
import pytest

from moist.data import Column, ImageSchema, TableSchema, TextSchema, schema_from_dict
from moist.data.schema import fit_table_schema, missing_column
from moist.types import UserError

TABLE = pa.table(
    {
        "age": [30, None, 50],
        "city": [" Rome", "?", "Bonn"],
        "paid": ["1.5", "", "NA"],
        "member": [True, None, False],
        "code": pa.array(["x", "y", "x"]).dictionary_encode(),
        "gone": pa.nulls(3),
    }
)


def test_columns_are_told_by_their_values():
    assert fit_table_schema(TABLE, "t").columns == (
        Column("age", "numeric"),
        Column("city", "categorical", ("Bonn", "Rome")),
        Column("paid", "numeric"),
        Column("member", "categorical", ("false", "true")),
        Column("code", "categorical", ("x", "y")),
        Column("gone", "numeric"),
    )


def test_rows_become_numbers_and_codes_with_nan_for_missing_and_unknown():
    schema = fit_table_schema(TABLE, "t")
    nan = np.nan
    expected = np.array([[30, 1, 1.5, 1, 0, nan], [nan, nan, nan, nan, 1, nan], [50, 0, nan, 0, 0, nan]], np.float32)
    np.testing.assert_array_equal(schema.encode_frame(TABLE), expected)
    new = {"age": ["7"], "city": ["Oslo"], "paid": [2], "member": ["true"], "code": ["y"], "gone": [1], "more": ["x"]}
    np.testing.assert_array_equal(schema.encode_frame(new), np.array([[7, nan, 2, 1, 1, 1]], np.float32))


def test_a_whole_number_keeps_its_name_in_a_float_column():
    # A CSV with a gap turns the codes 3, 4 into 3.0, 4.0; they are the same categories.
    schema = TableSchema((Column("code", "categorical", ("3", "4")),))
    raw = schema.encode_frame({"code": [4.0, float("nan"), 3.0]})
    np.testing.assert_array_equal(raw, np.array([[1], [np.nan], [0]], np.float32))


def test_every_schema_survives_json():
    for schema in (ImageSchema(8, 6, 3), TextSchema("utterance"), fit_table_schema(TABLE, "t")):
        assert schema_from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_a_missing_column_names_the_nearest_and_lists_all():
    with pytest.raises(UserError, match=r"new rows must have a column 'age'.*Did you mean 'agee'.*Columns: agee, b"):
        TableSchema((Column("age", "numeric"),)).encode_frame({"agee": [1], "b": [2]}, "new rows")


def test_of_many_columns_the_first_are_listed():
    many = [f"pixel{i}" for i in range(40)]
    message = str(missing_column("zzz", many, "t"))
    assert message.endswith("Columns: pixel0, pixel1, pixel2, " + ", ".join(many[3:12]) + " and 28 more.")
    assert "Known" not in message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["12", "twelve"], "column 'age' must hold numbers.*row 2 of the table holds 'twelve'"),
        ([1.0, float("inf")], "must be finite.*'age'.*row 2"),
        ([1e300, 1.0], "fit in 32 bits"),
        ([[1], [2]], "column 'age' must hold numbers.*list"),
    ],
)
def test_a_numeric_column_takes_numbers_only(values, message):
    with pytest.raises(UserError, match=message):
        TableSchema((Column("age", "numeric"),)).encode_frame({"age": values})


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[1], [2]]), r"holds list.*drop_columns: \[c\]"),
        (pa.array([f"id{i}" for i in range(200)]), r"has 200 different values in 200 rows.*drop_columns: \[c\]"),
    ],
)
def test_a_column_that_is_no_input_is_named(column, message):
    with pytest.raises(UserError, match=message):
        fit_table_schema(pa.table({"c": column}), "t")
