import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from moist import load_bundle


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for number, image in enumerate(load_digits().images[:3]):
        paths.append(tmp_path / f"digit{number}.png")
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(paths[-1])
    return paths


def test_images(digits_bundle, pictures, run, run_json):
    code, out, _ = run("predict", digits_bundle, *pictures)
    assert code == 0
    head, *lines = [line.split("\t") for line in out.splitlines()]
    assert head == ["input", "label", "probability", "domain", "deferred"]
    raw = np.stack([np.asarray(Image.open(path))[..., None] for path in pictures])
    mixture = load_bundle(digits_bundle)
    expected = mixture.predict_all(raw)
    assert [line[0] for line in lines] == [str(path) for path in pictures]
    assert [line[1] for line in lines] == mixture.predict(raw).tolist()
    assert [line[3] for line in lines] == [str(k) for k in expected.routing.expert_indices[:, 0].tolist()]
    answers = run_json("predict", digits_bundle, *pictures, "--top", 3, "--max-resident", 1)["predictions"]
    assert [answer["probability"] for answer in answers] == expected.probabilities.amax(dim=1).tolist()
    assert [len(answer["top"]) for answer in answers] == [3, 3, 3]
    assert answers[0]["top"][0] == {"label": answers[0]["label"], "probability": answers[0]["probability"]}


def test_the_best_classes_stand_side_by_side(digits_bundle, pictures, run):
    _, out, _ = run("predict", digits_bundle, pictures[0], "--top", "99")
    head, line = [line.split("\t") for line in out.splitlines()]
    assert len(head) == len(line) == 5 + 2 * 9
    assert head[5:7] == ["label_2", "probability_2"]
    assert sorted([line[1], *line[5::2]]) == [str(digit) for digit in range(10)]


def test_texts_and_deferral(text_bundle, run, run_json, tmp_path):
    answers = run_json("predict", text_bundle, "my card", "a\ttrain")["predictions"]
    assert [answer["input"] for answer in answers] == ["my card", "a\ttrain"]
    assert all(answer["deferred"] and answer["label"] in ("card", "train") for answer in answers)
    _, out, _ = run("predict", text_bundle, "a\ttrain")
    assert out.splitlines()[1].startswith("a train\t")
    assert out.splitlines()[1].endswith("\tyes")
    (tmp_path / "texts.txt").write_text("my card\nmy train\n")
    answers = run_json("predict", text_bundle, tmp_path / "texts.txt")["predictions"]
    assert [answer["input"] for answer in answers] == [f"{tmp_path}/texts.txt:1", f"{tmp_path}/texts.txt:2"]


def test_standard_input_gives_a_text_a_line(text_bundle, run, run_json, monkeypatch):
    # The name of a file is a text too, and an empty line keeps answers in step with lines.
    monkeypatch.setattr("sys.stdin", io.StringIO("my card\n\nREADME.txt\n"))
    answers = run_json("predict", text_bundle, "-")["predictions"]
    assert [answer["input"] for answer in answers] == ["my card", "", "README.txt"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, _, err = run("predict", text_bundle, "-")
    assert code == 2
    assert "standard input holds none" in err


def test_standard_input_gives_paths_of_images(digits_bundle, pictures, run_json, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(str(path) for path in pictures)))
    assert len(run_json("predict", digits_bundle, "-")["predictions"]) == 3


def test_rows_of_tables(table_bundle, run, run_json, tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    path.write_text("colour,note,size\nred,x,1\nyellow,y,\n")
    answers = run_json("predict", table_bundle, path)["predictions"]
    assert [answer["input"] for answer in answers] == [f"{path}:1", f"{path}:2"]
    path.write_text("colour\nred\n")
    code, _, err = run("predict", table_bundle, path)
    assert code == 2
    assert "'size'" in err
    monkeypatch.setattr("sys.stdin", io.StringIO("red,1"))
    code, _, err = run("predict", table_bundle, "-")
    assert code == 2
    assert "must come in a file" in err


@pytest.mark.parametrize("name", ["missing.png", "broken.png"])
def test_an_image_that_cannot_be_read_is_named(digits_bundle, run, tmp_path, name):
    (tmp_path / "broken.png").write_bytes(b"no image")
    code, out, err = run("predict", digits_bundle, tmp_path / name)
    assert (code, out) == (2, "")
    assert name in err
    assert err.count("\n") == 1


def test_a_reader_that_stops_early_is_no_error(text_bundle):
    command = f"yes 'my card' | head -n 20000 | {sys.executable} -m moist predict {text_bundle} - | head -n 1"
    answer = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[2]}}"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    assert answer.stdout.splitlines() == ["input\tlabel\tprobability\tdomain\tdeferred", "141"]
    assert answer.stderr == ""
