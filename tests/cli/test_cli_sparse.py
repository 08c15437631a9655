"""The commands for networks with experts, end to end on real digits."""

import json

import pytest

from moist.cli import main

CONFIG = """
name: quick
data: {name: digits, limit: 300}
student: {family: mlp, width: 8, sparse: {num_experts: 2, top_k: 2, combine: renormalize}}
training: {epochs: 2, batch_size: 32, learning_rate: 0.01}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOIST_CACHE", str(tmp_path / "cache"))
    (tmp_path / "my.yaml").write_text(CONFIG)
    return tmp_path


def test_the_whole_way(run, capsys):
    assert main(["train-moe", "my.yaml", "--out", "moe", "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("moe: ")
    assert main(["probe", "moe", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[:3] == ["EXPERT", "INPUTS", "OWN"]
    assert main(["integrate", "moe", "--method", "average", "--out", "one", "--quiet", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["systems"]) == {"moe", "gathered", "dense"}
    assert main(["train-moe", "my.yaml", "--out", "dense", "--quiet", "--set", "student.sparse=null"]) == 0
    assert main(["upcycle", "dense", "--num-experts", "3", "--out", "grown", "--quiet"]) == 0
    assert (run / "grown" / "model.safetensors").exists()


def test_errors_are_one_line(run, capsys):
    assert main(["probe", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("moist: error: nothing must be the folder of a trained network")
