import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from moist.data import Column, ImageSchema, TableSchema, TextSchema, read_inputs
from moist.types import UserError

TABLE = TableSchema((Column("a", "numeric"), Column("c", "categorical", ("x", "y"))))


def test_images_take_the_schemas_size_and_channels(tmp_path, png):
    grey = np.full((20, 10), 99, np.uint8)
    for name, form in (("a.png", "PNG"), ("b.jpg", "JPEG"), ("c.webp", "WEBP")):
        (tmp_path / name).write_bytes(png(grey, form))
    raw = read_inputs([str(tmp_path / n) for n in ("a.png", "b.jpg", "c.webp")], ImageSchema(8, 8, 3))
    assert raw.shape == (3, 8, 8, 3)
    assert raw.dtype == np.uint8
    assert np.abs(raw.astype(int) - 99).max() <= 2


def test_texts_are_literal_or_come_from_files(tmp_path):
    (tmp_path / "lines.txt").write_text("one\ntwo words\n")
    (tmp_path / "rows.csv").write_text("n,query\n1,007\n2,hi\n")
    sources = ["where is my card?", str(tmp_path / "lines.txt"), str(tmp_path / "rows.csv")]
    raw = read_inputs(sources, TextSchema("query"))
    assert raw.tolist() == ["where is my card?", "one", "two words", "007", "hi"]


def test_rows_are_found_by_column_name(tmp_path):
    (tmp_path / "r.csv").write_text("c,extra,a\ny,z,1.5\n?,z,\n")
    parquet.write_table(pa.table({"c": ["x"], "a": [4]}), tmp_path / "r.parquet")
    raw = read_inputs([str(tmp_path / "r.csv"), str(tmp_path / "r.parquet")], TABLE)
    np.testing.assert_array_equal(raw, np.array([[1.5, 1], [np.nan, np.nan], [4, 0]], np.float32))


def test_wrong_inputs_are_refused(tmp_path):
    (tmp_path / "r.csv").write_text("cc,a\n1,2\n")
    (tmp_path / "empty.txt").write_text("")
    for sources, schema, message in [
        ([], TextSchema(), "at least one input"),
        ([str(tmp_path / "empty.txt")], TextSchema(), "holds none"),
        ([str(tmp_path / "none.txt")], TextSchema(), "there is none at"),
        ([str(tmp_path / "r.csv")], TextSchema(), "must have a column 'text'"),
        ([str(tmp_path / "r.csv")], TABLE, "must have a column 'c'.*Did you mean 'cc'.*Columns: cc, a"),
        (["1,2"], TABLE, "must come in a file"),
        ([str(tmp_path / "none.csv")], TABLE, "no file at"),
        ([str(tmp_path / "none.png")], ImageSchema(8, 8, 1), "none.png"),
        ([str(tmp_path / "r.csv")], ImageSchema(8, 8, 1), "readable PNG"),
    ]:
        with pytest.raises(UserError, match=message):
            read_inputs(sources, schema)
