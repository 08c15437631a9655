import subprocess
import sys

import pytest

from moist.experiments import RECIPES, STUDIES

PROGRAM = """
import sys
from moist.cli import main
assert main(["reproduce", "--list"]) == 0
assert main(["reproduce", "leter"]) == 2
heavy = {"torch", "numpy", "pydantic", "yaml", "rich"} & set(sys.modules)
assert not heavy, heavy
"""


def test_the_list_and_a_misspelt_name_are_told_without_loading_anything_heavy():
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "Did you mean 'letter'?" in answer.stderr
    assert [line.split()[0] for line in answer.stdout.splitlines()] == [*RECIPES, *STUDIES]


@pytest.mark.parametrize("name", [[], ["letter"]])
def test_the_list_is_names_and_what_they_show(name, run, run_json, monkeypatch):
    monkeypatch.setattr("moist.cli.experiments.experiments", lambda: {"letter": "26 letters", "b": "more"})
    assert run("reproduce", *name, "--list")[1] == "letter  26 letters\nb       more\n"
    assert run_json("reproduce", *name, "--list") == {"recipes": {"letter": "26 letters", "b": "more"}}
