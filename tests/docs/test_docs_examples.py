"""The examples run, in an empty folder and on a bare installation."""

import shutil

import pytest
from docs_pages import FAST, PROJECT


@pytest.fixture
def examples(tmp_path):
    return shutil.copytree(PROJECT / "examples", tmp_path / "examples")


def test_own_table_and_use_of_its_bundle(run, examples):
    printed = run("own_table.py", *FAST, folder=examples)
    assert "MIXTURE" in printed
    assert "the first three rows are" in printed
    # A file of rows is one argument: its first row is what stands beside its name.
    assert run("use_bundle.py", "runs/cells/bundle", "cells.csv", folder=examples).startswith("cells.csv: ")


def test_own_torch_teacher(run, examples):
    folder = examples / "own_torch_teacher"
    run("digit_teacher.py", folder=folder)
    overrides = [word for setting in FAST for word in ("--set", setting)]
    printed = run("-m", "moist", "distill", "own_teacher.yaml", *overrides, folder=folder)
    teacher = next(line for line in printed.splitlines() if line.startswith("teacher"))
    assert float(teacher.split()[1].rstrip("%")) > 95
    assert "by specialist" in run("../use_bundle.py", "runs/own_teacher/bundle", "../seven.png", folder=folder)


def test_every_example_is_listed(examples):
    page = (examples / "README.md").read_text(encoding="utf-8")
    for path in examples.iterdir():
        assert path.name == "README.md" or f"({path.name})" in page
