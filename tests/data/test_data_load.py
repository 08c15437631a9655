"""Every form of source, whole: from files to splits."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from moist.data import DataSettings, ImageSchema, load_dataset
from moist.data.catalog import BUILT_IN
from moist.types import UserError


@pytest.fixture
def load(tmp_path):
    def run(**settings):
        return load_dataset(DataSettings(**settings), tmp_path / "cache", quiet=True)

    return run


def csv(path, header, rows):
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def table_csv(path, count=40):
    return csv(
        path, "age,city,label", [f"{i},{'Rome' if i % 3 else '?'},{'yes' if i % 2 else 'no'}" for i in range(count)]
    )


def test_digits_need_no_file(load):
    splits = load(name="digits")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [1294, 144, 359]
    assert splits.train.classes == tuple("0123456789")
    assert splits.train.schema == ImageSchema(8, 8, 1)
    assert splits.train.inputs.dtype == np.uint8
    assert splits.train.inputs.max() == 255
    assert splits.train.target.dtype == np.int64
    for part in (splits.validation, splits.test):
        shares = np.bincount(part.target) / len(part)
        assert np.abs(shares - 0.1).max() < 0.02


def test_the_same_settings_give_the_same_data_and_another_seed_another_cut(load):
    first, again, other = load(name="digits"), load(name="digits"), load(name="digits", split_seed=1)
    assert first.train.fingerprint == again.train.fingerprint
    assert first.train.fingerprint != first.test.fingerprint
    assert first.train.fingerprint != other.train.fingerprint


def test_limit_keeps_all_classes_of_fewer_training_rows(load):
    splits, whole = load(name="digits", limit=50), load(name="digits")
    assert len(splits.train) == 50
    assert np.bincount(splits.train.target).tolist() == [5] * 10
    assert splits.test.fingerprint == whole.test.fingerprint


def test_no_test_part_where_none_is_wanted(load):
    assert load(name="digits", test=0).test is None


@pytest.mark.parametrize("form", ["struct", "bytes", "webp"])
def test_parquet_with_encoded_images_and_hub_metadata(load, tmp_path, digit_images, png, form):
    images, labels = digit_images
    encoded = [png(x) for x in images]
    if form == "webp":
        encoded = [png(np.dstack([x] * 3), "WEBP") for x in images]
    column = pa.array(encoded) if form == "bytes" else pa.array([{"bytes": data, "path": None} for data in encoded])
    features = {"img": {"_type": "Image"}, "y": {"_type": "ClassLabel", "names": [f"d{i}" for i in range(10)]}}
    table = pa.table({"img": column, "y": labels}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    parquet.write_table(table, tmp_path / "few.parquet")
    splits = load(path=str(tmp_path / "few.parquet"), validation=0.2)
    assert splits.train.name == "few"
    assert splits.train.kind == "vision"
    assert splits.train.classes[3] == "d3"
    assert splits.train.schema == ImageSchema(8, 8, 3 if form == "webp" else 1)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 120
    if form != "webp":
        row = next(i for i, x in enumerate(images) if np.array_equal(x, splits.train.inputs[0, ..., 0]))
        assert splits.train.target[0] == labels[row]


def test_images_in_files_that_a_table_names(load, tmp_path, digit_images, png):
    images, labels = digit_images
    for i, image in enumerate(images[:30]):
        (tmp_path / f"{i}.png").write_bytes(png(image))
    column = pa.array(
        [{"bytes": None, "path": f"{i}.png"} for i in range(30)], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    parquet.write_table(pa.table({"image": column, "label": labels[:30]}), tmp_path / "train.parquet")
    assert len(load(path=str(tmp_path / "train.parquet"), test=0).train) == 27


def image_folder(folder, digit_images, png, count=60):
    images, labels = digit_images
    for i, (image, label) in enumerate(zip(images[:count], labels[:count], strict=True)):
        place = folder / f"digit {label}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.png").write_bytes(png(image))


def test_a_folder_of_images_for_each_class(load, tmp_path, digit_images, png):
    image_folder(tmp_path / "set", digit_images, png)
    splits = load(path=str(tmp_path / "set"))
    assert splits.train.classes == tuple(f"digit {i}" for i in range(10))
    assert len(splits.test) == 12
    image_folder(tmp_path / "both" / "train", digit_images, png)
    image_folder(tmp_path / "both" / "test", digit_images, png, 20)
    (tmp_path / "both" / "notes.csv").write_text("a,b\n1,2\n")
    assert len(load(path=str(tmp_path / "both")).test) == 20


def test_loose_images_are_a_transfer_set_without_labels(load, tmp_path, digit_images, png):
    for i, image in enumerate(digit_images[0][:20]):
        (tmp_path / f"{i}.png").write_bytes(png(image))
    splits = load(path=str(tmp_path))
    assert splits.train.target is None
    assert splits.train.classes == ()
    assert load(path=str(tmp_path), classes=["a", "b"]).train.classes == ("a", "b")


def label_counts(splits):
    return np.bincount(np.concatenate([splits.train.target, splits.validation.target]))


def test_an_unreadable_image_takes_its_label_along(load, tmp_path, digit_images, png, capsys):
    image_folder(tmp_path / "set", digit_images, png)
    before = load(path=str(tmp_path / "set"), test=0)
    broken = tmp_path / "set" / "digit 3" / "3.png"
    broken.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"3.png is not"):
        load(path=str(tmp_path / "set"), test=0)
    after = load(path=str(tmp_path / "set"), test=0, on_error="skip")
    assert "3.png" in "".join(capsys.readouterr().err.split())
    difference = label_counts(before) - label_counts(after)
    assert difference[3] == 1
    assert difference.sum() == 1


def test_a_table_with_categories_and_gaps(load, tmp_path):
    splits = load(path=table_csv(tmp_path / "t.csv"), kind="tabular")
    assert [(c.name, c.kind, c.categories) for c in splits.train.schema.columns] == [
        ("age", "numeric", ()),
        ("city", "categorical", ("Rome",)),
    ]
    assert splits.train.inputs.dtype == np.float32
    assert np.isnan(splits.train.inputs[:, 1]).any()
    assert splits.train.classes == ("no", "yes")
    np.testing.assert_array_equal(splits.train.inputs[:, 0] % 2, splits.train.target)


def test_columns_can_be_dropped_and_the_label_named(load, tmp_path):
    path = csv(tmp_path / "t.csv", "id,x,outcome", [f"r{i},{i},{i % 2}" for i in range(300)])
    with pytest.raises(UserError, match=r"column 'id'.*drop_columns: \[id\]"):
        load(path=path, kind="tabular", label_column="outcome")
    splits = load(path=path, kind="tabular", label_column="outcome", drop_columns=("id",), classes=["bad", "good"])
    assert [c.name for c in splits.train.schema.columns] == ["x"]
    assert splits.train.classes == ("bad", "good")


def test_a_category_seen_only_outside_training_is_unknown(load, tmp_path):
    csv(tmp_path / "train.csv", "c,label", [f"{'ab'[i % 2]},{i % 2}" for i in range(20)])
    csv(tmp_path / "test.csv", "label,c", ["0,a", "1,new"])
    test = load(path=str(tmp_path), kind="tabular").test
    np.testing.assert_array_equal(test.inputs, np.array([[0], [np.nan]], np.float32))


def test_texts_from_every_format_are_the_same(load, tmp_path):
    rows = [{"query": f"text {i}, with a comma", "label": "ab"[i % 2]} for i in range(40)]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    csv(tmp_path / "t.csv", "query,label", [f'"{row["query"]}",{row["label"]}' for row in rows])
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    read = [load(path=str(tmp_path / f"t.{suffix}"), kind="text") for suffix in ("jsonl", "csv", "parquet")]
    assert len({splits.train.fingerprint for splits in read}) == 1
    splits = read[0]
    assert splits.train.schema.column == "query"
    texts = [*splits.train.inputs, *splits.validation.inputs, *splits.test.inputs]
    assert sorted(texts) == sorted(row["query"] for row in rows)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_kind_of_a_table_of_numbers_is_told_by_its_columns(load, tmp_path, suffix):
    rows = [{"x": i, "y": "?" if i % 7 == 0 else str(i / 2), "label": "ab"[i % 2]} for i in range(40)]
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv":
        csv(path, "x,y,label", [",".join(map(str, row.values())) for row in rows])
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        parquet.write_table(pa.Table.from_pylist(rows), path)
    told, given = load(path=str(path)), load(path=str(path), kind="tabular")
    assert told.train.kind == "tabular"
    assert told.train.fingerprint == given.train.fingerprint


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_kind_of_a_table_of_long_texts_is_told_by_its_columns(load, tmp_path, suffix):
    rows = [{"id": i, "query": f"where is card {i}", "label": f"0{i % 2}"} for i in range(40)]
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv":
        csv(path, "id,query,label", [",".join(map(str, row.values())) for row in rows])
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        parquet.write_table(pa.Table.from_pylist(rows), path)
    told, given = load(path=str(path)), load(path=str(path), kind="text", input_column="query")
    assert told.train.kind == "text"
    assert told.train.schema.column == "query"
    assert told.train.classes == ("00", "01")
    assert told.train.fingerprint == given.train.fingerprint


def test_the_test_part_elsewhere_is_of_the_kind_that_was_told(load, tmp_path):
    train = csv(tmp_path / "a.csv", "id,query,label", [f"{i},where is card {i},{i % 2}" for i in range(40)])
    test = csv(tmp_path / "b.csv", "id,query,label", ["0,7,0", "1,12,1"])
    assert load(path=train, test_path=test).test.inputs.tolist() == ["7", "12"]


def test_an_input_column_says_that_a_table_holds_texts(load, tmp_path):
    path = csv(tmp_path / "t.csv", "price,word,label", [f"{i},word{i},{i % 2}" for i in range(40)])
    assert load(path=path, input_column="word").train.kind == "text"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("x,city", "{i},Rome"),  # categories
        ("city", "New York City"),  # of several words, but always the same
        ("name", "Anna{i}"),  # always different, but no text
        ("price,review", "{i},a good one and {i}"),  # would the price be missed?
        ("title,review", "a new one {i},a good one and {i}"),  # which of them?
    ],
)
def test_a_kind_that_the_columns_leave_open_must_be_given(load, tmp_path, header, row):
    path = csv(tmp_path / "t.csv", f"{header},label", [f"{row.format(i=i)},{i % 2}" for i in range(40)])
    with pytest.raises(UserError, match=rf"kind of a table must be given.*\[{header.replace(',', ', ')}, label\]"):
        load(path=path)


def test_where_no_label_is_found_the_remedy_names_that_too(load, tmp_path):
    path = csv(tmp_path / "t.csv", "x,outcome", [f"{i},{'yes' if i % 2 else 'no'}" for i in range(40)])
    with pytest.raises(UserError, match=r"data.kind to text or tabular, and data.label_column if"):
        load(path=path)
    assert load(path=path, label_column="outcome").train.kind == "tabular"


def test_missing_texts_are_named_or_skipped(load, tmp_path, capsys):
    rows = [{"text": None if i == 4 else f"t{i}", "label": i % 2} for i in range(20)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"1 rows .* have none \(rows 5\)"):
        load(path=str(tmp_path / "t.parquet"), kind="text")
    splits = load(path=str(tmp_path / "t.parquet"), kind="text", on_error="skip", test=0)
    assert len(splits.train) + len(splits.validation) == 19
    assert "rows 5" in " ".join(capsys.readouterr().err.split())


def test_a_test_part_elsewhere(load, tmp_path):
    train, test = table_csv(tmp_path / "a.csv"), table_csv(tmp_path / "b.csv", 10)
    splits = load(path=train, test_path=test, kind="tabular")
    assert len(splits.test) == 10
    assert len(splits.train) == 36


def test_a_part_with_secret_labels_has_none(load, tmp_path):
    csv(tmp_path / "train.csv", "x,label", [f"{i},{i % 2}" for i in range(20)])
    csv(tmp_path / "test.csv", "x,label", ["1,-1", "2,-1"])
    splits = load(path=str(tmp_path), kind="tabular")
    assert splits.test.target is None
    assert splits.train.target is not None


def test_data_without_labels_say_so(tmp_path, capsys):
    csv(tmp_path / "t.csv", "x,z", [f"{i},{-i}" for i in range(20)])
    splits = load_dataset(DataSettings(path=str(tmp_path / "t.csv"), kind="tabular"), tmp_path)
    assert splits.train.target is None
    assert splits.test.target is None
    assert "no labels found" in capsys.readouterr().err


def test_user_errors_name_the_rule_and_the_remedy(load, tmp_path, digit_images, png):
    one = csv(tmp_path / "one.csv", "x,label", [f"{i},a" for i in range(20)])
    mixed = csv(tmp_path / "mixed.csv", "x,city,label", [f"{i},Rome,{i % 2}" for i in range(20)])
    empty = csv(tmp_path / "empty.csv", "x,label", [])
    gaps = csv(tmp_path / "gaps.csv", "x,label", ["1,a", "2,", "3,b"])
    (tmp_path / "split").mkdir()
    csv(tmp_path / "split" / "train.csv", "x,label", [f"{i},{'ab'[i % 2]}" for i in range(20)])
    csv(tmp_path / "split" / "test.csv", "x,label", ["1,a", "2,c"])
    (tmp_path / "nothing").mkdir()
    image_folder(tmp_path / "sizes", digit_images, png)
    (tmp_path / "sizes" / "digit 9" / "z.png").write_bytes(png(np.zeros((9, 9), np.uint8)))
    for settings, message in [
        ({"path": str(tmp_path / "none.csv")}, "nothing at.*none.csv"),
        ({"path": str(tmp_path / "nothing")}, "must hold train.parquet"),
        ({"path": mixed}, r"kind .* must be given.*columns \[x, city, label\].*text or tabular$"),
        ({"path": one, "kind": "tabular"}, "at least two classes.*only 'a'"),
        ({"path": one, "kind": "vision"}, "must hold encoded images"),
        ({"path": one, "kind": "tabular", "input_column": "x"}, "input_column is for texts and images"),
        ({"path": one, "kind": "tabular", "drop_columns": ("y",)}, "must have a column 'y'"),
        ({"path": one, "kind": "text", "input_column": "labels"}, "Did you mean 'label'"),
        ({"path": one, "kind": "tabular", "label_column": "lable"}, "Did you mean 'label'.*Columns: x, label"),
        ({"path": empty, "kind": "tabular"}, "at least one example"),
        ({"path": gaps, "kind": "tabular"}, r"1 of 3 .* have none \(first: row 2\)"),
        ({"path": str(tmp_path / "split"), "kind": "tabular"}, r"also has \[c\], the classes are \[a, b\]"),
        ({"path": str(tmp_path / "sizes")}, "all images must have one size.*image_size"),
        ({"path": str(tmp_path / "sizes"), "kind": "text"}, "holds images, got kind: text"),
    ]:
        with pytest.raises(UserError, match=message):
            load(**settings)
    assert load(path=str(tmp_path / "sizes"), image_size=8).train.schema == ImageSchema(8, 8, 1)


def test_a_built_in_that_is_not_here_names_the_remedies(load, tmp_path, monkeypatch):
    monkeypatch.setenv("MOIST_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"letter must be on this machine.*set MOIST_DATA.*tabular/letter.*data.path"):
        load(name="letter")
    monkeypatch.delenv("MOIST_DATA")
    monkeypatch.setattr("moist.data.sources.data_root", lambda: None)
    monkeypatch.setattr("moist.data.sources.find_built_in", lambda _: None)
    with pytest.raises(UserError, match="letter must be on this machine: it is nowhere, since MOIST_DATA is not set; "):
        load(name="letter")


SIZES = {
    "letter": (16000, 4000, 26),
    "adult": (32561, 16281, 2),
    "covtype20k": (16000, 4000, 7),
    "banking77": (10003, 3080, 77),
    "trec50": (5452, 500, 50),
    "mnist": (60000, 10000, 10),
}


@pytest.mark.parametrize("name", SIZES)
def test_real_data_have_their_published_sizes(load, real, name):
    real(name)
    splits = load(name=name)
    train, test, classes = SIZES[name]
    assert len(splits.train) + len(splits.validation) == train
    assert len(splits.test) == test
    assert len(splits.train.classes) == classes
    assert splits.train.kind == BUILT_IN[name].kind
    assert set(np.unique(splits.train.target)) == set(range(classes))


def test_adult_has_categories_and_gaps(load, real):
    real("adult")
    train = load(name="adult").train
    columns = {column.name: column for column in train.schema.columns}
    assert columns["age"].kind == "numeric"
    assert "?" not in columns["workclass"].categories
    assert "Private" in columns["workclass"].categories
    gaps = np.isnan(train.inputs).any(axis=0)
    # The data set's documentation: values lack in workclass, occupation and native country only.
    assert {c.name for c, gap in zip(train.schema.columns, gaps, strict=True) if gap} == {
        "workclass",
        "occupation",
        "native_country",
    }


def test_a_validation_file_is_used_as_it_is(load, real):
    real("clinc150")
    splits = load(name="clinc150")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [15000, 3000, 4500]


def test_cifar10_pixels_have_the_published_statistics(tmp_path, real):
    # The test part alone, as a training part: 10,000 images.
    path = real("cifar10") / "test.parquet"
    splits = load_dataset(DataSettings(path=str(path), test=0), tmp_path, quiet=True)
    assert len(splits.train) == 9000
    assert splits.train.classes[:2] == ("airplane", "automobile")
    whole = np.concatenate([splits.train.inputs, splits.validation.inputs])
    # Channel means of CIFAR-10's test part, as published with many recipes: 0.4942, 0.4851, 0.4504.
    np.testing.assert_allclose(whole.mean(axis=(0, 1, 2)) / 255, [0.4942, 0.4851, 0.4504], atol=2e-4)
