"""The README does what it says: its commands and programs are run in order, in an empty folder."""

import csv
import json
import re
import shlex
import shutil

import pytest
from docs_pages import FAST, PROJECT, blocks
from sklearn.datasets import load_breast_cancer

README = PROJECT / "README.md"
SETUP = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt '.[train]' && .venv/bin/moist distill digits"
TESTS = "bash scripts/test.sh"


def write_cells(path):
    """Write the file that the README supposes the reader to have."""
    cells = load_breast_cancer()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*cells.feature_names, "diagnosis"])
        writer.writerows([*row, cells.target_names[code]] for row, code in zip(cells.data, cells.target))


def test_the_readme_begins_with_its_two_commands():
    shell = [block.text.strip() for block in blocks(README) if block.language == "bash"]
    assert shell[:2] == [SETUP, TESTS]


def test_continuous_integration_runs_the_readmes_test_command_and_nothing_else():
    lines = (PROJECT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands[2:] == [f"exec {TESTS}"]
    assert commands[:2] == ["set -euo pipefail", 'cd "$(dirname "${BASH_SOURCE[0]}")/.."']


@pytest.mark.parametrize("name", [".ci/run", "scripts/test.sh"])
def test_programs_can_be_executed(name):
    assert (PROJECT / name).stat().st_mode & 0o111


def test_the_table_that_it_shows_is_what_the_committed_run_printed():
    systems = json.loads((PROJECT / "results" / "digits.json").read_text(encoding="utf-8"))["systems"]
    first = {name: systems[name]["accuracy"]["values"][0] for name in ("teacher", "student_same_cost", "mixture")}
    (shown,) = [block.text for block in blocks(README) if block.text.startswith("system ")]
    assert re.findall(r"[0-9.]+%", shown)[:3] == [f"{value:.2%}" for value in first.values()]
    gain = 100 * (first["mixture"] - first["student_same_cost"])
    assert f"The mixture wins: {gain:.1f} points" in shown
    assert f"{first['mixture']:.1%} against {first['student_same_cost']:.1%}" in shown


def test_every_command_and_program_runs_in_order(run, tmp_path):
    write_cells(tmp_path / "cells.csv")
    shutil.copytree(PROJECT / "examples", tmp_path / "examples")
    printed = {}
    for block in blocks(README)[2:]:
        if block.language == "yaml":
            name = re.match(r"# (\S+\.yaml)\n", block.text).group(1)
            (tmp_path / name).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            printed["python"] = run("-c", block.text)
        elif block.language == "bash":
            for command in block.commands:
                printed[command] = run("-m", "moist", *arguments_of(command))
    assert "MIXTURE" in printed["moist distill digits"]
    assert printed["python"].count("\n") >= 2
    predicted = printed["moist predict runs/digits/bundle examples/seven.png --top 3"].splitlines()
    assert predicted[1].split("\t")[0] == "examples/seven.png"
    assert len(printed["moist predict runs/cells/bundle cells.csv"].splitlines()) == 570


def arguments_of(command):
    """Return the arguments after ``moist``, shortened where they train."""
    program, *arguments = shlex.split(command)
    assert program == "moist", f"the README's commands begin with moist, got {command}"
    fast = [word for setting in FAST for word in ("--set", setting)] if arguments[0] == "distill" else []
    return [*arguments, *fast]


def test_the_tree_names_every_room():
    tree = next(block.text for block in blocks(README) if "src/moist/" in block.text)
    named = dict(re.findall(r"^ *(\S+)  +(\S.*)$", tree, flags=re.M))
    rooms = {f"{path.parent.name}/" for path in (PROJECT / "src" / "moist").glob("*/__init__.py")}
    assert rooms <= named.keys()
    for name in named:
        assert name in rooms or name == "results/" or (PROJECT / name).exists(), f"{name} is not there"
