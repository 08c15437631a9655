import json

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from moist.data.columns import image_column, label_column, text_column
from moist.data.tables import class_names, find_lone_table, find_tables, open_table
from moist.types import UserError


def write(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("a,b\n1,2\n")


def test_splits_and_shards_are_found_by_name(tmp_path):
    write(tmp_path / "data", "train-00001-of-00002.csv", "train-00000-of-00002.csv", "dev.csv", "test.csv", "more.csv")
    found = find_tables(tmp_path)
    assert [f.name for f in found["train"]] == ["train-00000-of-00002.csv", "train-00001-of-00002.csv"]
    assert set(found) == {"train", "validation", "test"}
    assert open_table(found["train"]).num_rows == 2


def test_a_folder_must_say_which_file_is_for_training(tmp_path):
    write(tmp_path, "one.csv")
    assert find_tables(tmp_path) == {}
    assert list(find_lone_table(tmp_path)) == ["train"]
    write(tmp_path, "two.csv")
    with pytest.raises(UserError, match=r"called train.*one.csv, two.csv"):
        find_lone_table(tmp_path)


def test_one_split_in_two_formats_is_refused(tmp_path):
    write(tmp_path, "train.csv", "train.tsv")
    with pytest.raises(UserError, match=r"one format.*train.csv, train.tsv"):
        find_tables(tmp_path)


def test_csv_tsv_and_jsonl_hold_the_same_rows(tmp_path):
    (tmp_path / "a.csv").write_text('text,n\n"two\nlines",1\n007,2\n')
    (tmp_path / "a.tsv").write_text("text\tn\n007\t2\n")
    (tmp_path / "a.jsonl").write_text('{"text": "007", "n": 2}\n')
    texts = {f: open_table([tmp_path / f], text_columns=True).read(["text"]) for f in ("a.csv", "a.tsv", "a.jsonl")}
    assert texts["a.csv"]["text"].to_pylist() == ["two\nlines", "007"]
    assert texts["a.tsv"]["text"].to_pylist() == texts["a.jsonl"]["text"].to_pylist() == ["007"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.parquet", b"PAR1 broken", "cannot be read as a table"),
        ("x.csv", b"a,b\n1,2\n1\n", "cannot be read as a table"),
        ("x.csv", b"", "is empty"),
        ("x.jsonl", b"{no json", "cannot be read as a table"),
        ("x.xlsx", b"", "must end in one of .parquet, .csv"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_table([tmp_path / name])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no file at"):
        open_table([tmp_path / "x.csv"])


def hub_schema(features):
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    fields = [
        ("img", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("fine", pa.int64()),
        ("coarse", pa.int64()),
    ]
    return pa.schema(fields, metadata)


def test_hub_metadata_name_the_classes_and_the_images(tmp_path):
    schema = hub_schema({"img": {"_type": "Image"}, "fine": {"_type": "ClassLabel", "names": ["a", "b"]}})
    parquet.write_table(schema.empty_table(), tmp_path / "t.parquet")
    read = open_table([tmp_path / "t.parquet"]).schema
    assert class_names(read, "fine") == ("a", "b")
    assert class_names(read, "coarse") is None
    assert label_column(read, None, "t") == "fine"
    assert image_column(read, None, "t") == "img"


def test_two_columns_of_classes_need_a_choice():
    names = {"_type": "ClassLabel", "names": ["a", "b"]}
    schema = hub_schema({"fine": names, "coarse": names})
    with pytest.raises(UserError, match="has fine, coarse; name one as label_column"):
        label_column(schema, None, "t")
    assert label_column(schema, "coarse", "t") == "coarse"


def test_damaged_metadata_count_as_none():
    assert class_names(pa.schema([("a", pa.int64())], {"huggingface": "{"}), "a") is None


def test_the_text_column_is_found_or_asked_for():
    strings = pa.schema([("query", pa.string()), ("label", pa.string()), ("n", pa.int64())])
    assert text_column(strings, None, "label", "t") == "query"
    with pytest.raises(UserError, match=r"Did you mean 'query'.*Columns: query, label, n"):
        text_column(strings, "qery", "label", "t")
    with pytest.raises(UserError, match="'n' of t holds int64"):
        text_column(strings, "n", "label", "t")
    with pytest.raises(UserError, match=r"string columns \[query, label\]"):
        text_column(strings, None, None, "t")


def test_a_missing_label_column_is_an_error_only_where_it_was_named():
    schema = pa.schema([("intent", pa.string())])
    assert label_column(schema, None, "t") is None
    with pytest.raises(UserError, match="Did you mean 'intent'"):
        label_column(schema, "intents", "t")
