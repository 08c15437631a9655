"""Thousands of wrong configurations, files and command lines: each is refused in words, none with a traceback."""

import contextlib
import io
import json
import os
import string
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scale import SCALE

from moist.cli import main
from moist.config import load_config
from moist.data import DataSettings, ImageSchema, load_dataset, read_inputs
from moist.errors import UserError
from moist.recipes import DistillSettings

WHOLE = {
    "data": {"name": "digits"},
    "teacher": {"kind": "sklearn", "estimator": "sklearn.svm.SVC"},
    "student": {"family": "mlp"},
}
KEYS = sorted(
    {name for cls in (DistillSettings, DataSettings) for name in cls.model_fields} | {"width", "kind", "path"}
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(KEYS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
)


@given(changes=st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), VALUES, max_size=3))
@settings(max_examples=400 * SCALE)
def test_configurations(changes):
    with contextlib.suppress(UserError):
        load_config(DistillSettings, {**WHOLE, **changes})


@given(
    path=st.lists(st.sampled_from([*KEYS, "", "a b", "é"]), min_size=1, max_size=3),
    text=st.text(max_size=12),
    sign=st.sampled_from(["=", "", ":", "=="]),
)
@settings(max_examples=300 * SCALE)
def test_overrides(path, text, sign):
    with contextlib.suppress(UserError):
        load_config(DistillSettings, WHOLE, [".".join(path) + sign + text])


@given(content=st.binary(max_size=200) | st.text(alphabet=string.printable, max_size=200).map(str.encode))
@settings(max_examples=200 * SCALE)
def test_files_of_configuration(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        load_config(DistillSettings, path)


def csv_file():
    return b"size,colour,label\n1,red,a\n2,blue,b\n3,red,a\n4,,b\n5,red,a\n6,blue,b\n7,red,a\n8,blue,b\n" * 3


def jsonl_file():
    rows = [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(20)]
    return "\n".join(json.dumps(row) for row in rows).encode()


def parquet_file():
    buffer = io.BytesIO()
    table = pa.table({"size": list(range(20)), "label": ["a", "b"] * 10})
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def picture():
    buffer = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {"csv": csv_file(), "tsv": csv_file().replace(b",", b"\t"), "jsonl": jsonl_file(), "parquet": parquet_file()}


def mutated(content):
    """Change a few bytes of a file, cut it, or repeat a part of it."""
    change = st.tuples(st.integers(0, len(content) - 1), st.binary(max_size=4))

    def apply(changes, cut):
        changed = bytearray(content)
        for place, piece in changes:
            changed[place : place + len(piece)] = piece
        return bytes(changed[:cut])

    return st.builds(apply, st.lists(change, max_size=4), st.none() | st.integers(0, len(content)))


@pytest.mark.parametrize("suffix", FILES)
def test_files_of_data(tmp_path, suffix):
    path = tmp_path / f"train.{suffix}"

    @given(content=mutated(FILES[suffix]))
    @settings(max_examples=40 * SCALE)
    def try_one(content):
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            load_dataset(DataSettings(path=str(path)), tmp_path / "cache", quiet=True)

    try_one()


def test_pictures(tmp_path):
    path, schema = tmp_path / "a.png", ImageSchema(8, 8, 1)

    @given(content=mutated(picture()))
    @settings(max_examples=150 * SCALE)
    def try_one(content):
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            assert read_inputs([str(path)], schema).shape == (1, 8, 8, 1)

    try_one()


COMMANDS = ("distill", "evaluate", "predict", "inspect", "reproduce", "data", "serve")
WORDS = (
    "--json",
    "--top",
    "--set",
    "a.b=c",
    "--out",
    "--verify",
    "list",
    "--list",
    "--split",
    "test",
    "-",
    "",
    "0",
    "-1",
)


@given(arguments=st.lists(st.sampled_from([*COMMANDS, *WORDS]) | st.text(max_size=5), max_size=4))
@settings(max_examples=60 * SCALE)
def test_command_lines(tmp_path_factory, arguments):
    folder = tmp_path_factory.getbasetemp() / "commands"
    folder.mkdir(exist_ok=True)
    printed, said = io.StringIO(), io.StringIO()
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            code = main(["inspect", *arguments] if arguments[:1] == ["distill"] else arguments)
    except SystemExit as stop:
        code = stop.code
    finally:
        os.chdir(before)
    assert code in (0, 2)
    assert "Traceback" not in said.getvalue()
    if code == 2:
        assert said.getvalue().startswith("moist: error: ")
        assert said.getvalue().count("\n") == 1
