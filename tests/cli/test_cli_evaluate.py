import json

import numpy as np
import pytest

from moist import load_bundle
from moist.data import DataSettings, load_dataset
from moist.mixture import inspect_bundle


def test_the_runs_own_data_are_the_default(digits_bundle, run, run_json, tmp_path):
    result = run_json("evaluate", digits_bundle)
    test = load_dataset(DataSettings(name="digits"), tmp_path / "cache", quiet=True).test
    prediction = load_bundle(digits_bundle).predict_all(test.inputs)
    probabilities = prediction.probabilities.numpy()
    assert result["num_examples"] == len(test)
    assert result["accuracy"] == (probabilities.argmax(axis=1) == test.target).mean()
    assert result["nll"] == pytest.approx(-np.log(probabilities[np.arange(len(test)), test.target]).mean())
    chosen = prediction.routing.expert_indices[:, 0].numpy()
    assert result["load"] == (np.bincount(chosen, minlength=3) / len(test)).tolist()
    facts = inspect_bundle(digits_bundle)
    assert result["active_macs"] == pytest.approx(facts["costs"]["active"]["macs"])
    code, out, _ = run("evaluate", digits_bundle)
    assert code == 0
    for words in ("accuracy", "calibration error", "active MACs", "domain 2", f"{result['accuracy']:.2%}"):
        assert words in out


def test_all_rows_can_be_taken_and_all_specialists_asked(digits_bundle, run, run_json):
    result = run_json("evaluate", digits_bundle, "--split", "all", "--top-k", "all", "--max-resident", 1)
    assert result["num_examples"] == 1797
    assert result["load"] == [1.0, 1.0, 1.0]
    assert run_json("evaluate", digits_bundle, "--top-k", 2)["load"] != result["load"]
    code, _, err = run("evaluate", digits_bundle, "--top-k", "9")
    assert code == 2
    assert "at most the 3 specialists, got 9" in err


@pytest.fixture
def things(tmp_path):
    """Rows of the table bundle's columns; the file lacks one colour, so its own category codes differ."""
    path = tmp_path / "things.csv"
    rows = [f"{number},{('red', 'green')[number % 3 == 0]},{('yes', 'no')[number % 2]}" for number in range(30)]
    path.write_text("\n".join(["size,colour,answer", *rows]))
    return path


def test_columns_and_categories_are_matched_by_name(table_bundle, things, run_json):
    result = run_json("evaluate", table_bundle, "--data", things, "--split", "all")
    mixture = load_bundle(table_bundle)
    sizes = list(range(30))
    colours = [("red", "green")[number % 3 == 0] for number in sizes]
    raw = mixture.schema.encode_frame({"size": sizes, "colour": colours})
    expected = np.mean(mixture.predict(raw) == np.array([("yes", "no")[number % 2] for number in sizes]))
    assert result["accuracy"] == pytest.approx(expected)
    assert result["num_examples"] == 30
    assert run_json("evaluate", table_bundle, "--split", "all") == {**result, "data": result["data"]}


def test_other_data_are_measured_whole_however_few(table_bundle, run_json, run, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("size,colour,answer\n3,red,no\n")
    result = run_json("evaluate", table_bundle, "--data", path)
    assert (result["num_examples"], result["split"]) == (1, "all")
    code, _, err = run("evaluate", table_bundle, "--data", path, "--split", "validation")
    assert code == 2
    assert "new has no validation part, only train; choose another --split, or all" in err


def test_the_file_of_the_training_keeps_its_parts(table_bundle, things, run_json, monkeypatch):
    own = run_json("evaluate", table_bundle)
    assert (own["split"], own["num_examples"]) == ("test", 6)
    monkeypatch.chdir(things.parent)
    assert run_json("evaluate", table_bundle, "--data", things.name) == own


def test_parts_of_other_data_are_kept_apart(table_bundle, things, run_json, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    lines = things.read_text().splitlines()
    for name, rows in (("train", lines[1:21]), ("test", lines[21:])):
        (folder / f"{name}.csv").write_text("\n".join([lines[0], *rows]))
    assert run_json("evaluate", table_bundle, "--data", folder)["num_examples"] == 10
    assert run_json("evaluate", table_bundle, "--data", folder, "--split", "all")["num_examples"] == 30


def test_deferred_inputs_cost_the_generalist_too(text_bundle, run_json, tmp_path):
    path = tmp_path / "questions.csv"
    path.write_text(
        "text,label\n" + "".join(f"my {('card', 'train')[i % 2]} {i},{('card', 'train')[i % 2]}\n" for i in range(20))
    )
    result = run_json("evaluate", text_bundle, "--data", path)
    costs = inspect_bundle(text_bundle)["costs"]
    assert result["deferred"] == 1.0
    assert result["active_macs"] == pytest.approx(costs["active"]["macs"] + costs["generalist"]["macs"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("nowhere.csv", "there is no nowhere.csv"),
        ("letter", "among the bundle's, by name"),
        ("foreign.csv", "[maybe] of foreign are not"),
        ("unlabelled.csv", "'answer'"),
        ("narrow.csv", "'size'"),
    ],
)
def test_data_that_do_not_fit_are_an_error(table_bundle, things, run, tmp_path, monkeypatch, data, words):
    monkeypatch.chdir(tmp_path)
    text = things.read_text()
    (tmp_path / "foreign.csv").write_text(text.replace("yes", "maybe"))
    (tmp_path / "unlabelled.csv").write_text("size,colour\n" + "1,red\n2,green\n" * 10)
    (tmp_path / "narrow.csv").write_text(text.replace("size", "length"))
    manifest = json.loads((table_bundle / "bundle.json").read_text())
    assert manifest["config"]["data"]["label_column"] == "answer"
    code, out, err = run("evaluate", table_bundle, "--data", data)
    if data == "letter" and "MOIST_DATA" in err:
        pytest.skip("the letter data are not on this machine")
    assert (code, out) == (2, "")
    assert words in err
    assert err.splitlines()[-1].startswith("moist: error: ")


def test_images_of_another_size_are_an_error(digits_bundle, run, tmp_path):
    from PIL import Image

    for digit in ("0", "1"):
        (tmp_path / "big" / digit).mkdir(parents=True)
        for number in range(6):
            Image.new("L", (12, 12), number * 20).save(tmp_path / "big" / digit / f"{number}.png")
    code, out, err = run("evaluate", digits_bundle, "--data", tmp_path / "big")
    assert (code, out) == (2, "")
    assert '"height": 8' in err
    assert '"height": 12' in err


def test_a_bundle_that_does_not_say_its_data_asks_for_some(text_bundle, run):
    code, _, err = run("evaluate", text_bundle)
    assert code == 2
    assert "--data" in err


def test_data_without_labels_are_an_error(text_bundle, run, tmp_path):
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"my card {number}\n" for number in range(20)))
    code, out, err = run("evaluate", text_bundle, "--data", tmp_path / "texts.csv")
    assert (code, out) == (2, "")
    assert "evaluation needs labels" in err
