"""The tables of results show the committed result files, and nothing else."""

import json

import pytest


def system(*values, macs=None, params=None):
    """An entry of a result file."""
    mean = sum(values) / len(values)
    spread = (sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)) ** 0.5
    accuracy = {"mean": mean, "std": spread, "values": list(values)}
    return {"accuracy": accuracy, "active_macs": macs, "total_params": params, "ece": 0.01}


@pytest.fixture
def document():
    """A result file of two seeds; its cascade beats its mixture, and ran once."""
    return {
        "schema": 1,
        "name": "letter",
        "command": "moist reproduce letter",
        "date": "2025-01-01",
        "data": {"name": "letter", "train": 14400, "validation": 1600, "test": 4000},
        "teacher": {"name": "3 networks"},
        "seeds": [0, 1],
        "versions": {"moist": "0.1.0", "torch": "2.13.0"},
        "machine": {"cores": 2},
        "systems": {
            "teacher": system(0.98, 0.98, macs=2.2e5),
            "student_same_cost": system(0.86, 0.88, macs=840),
            "mixture": system(0.93, 0.95, macs=804, params=10_000),
            "cascade": system(0.96, macs=800),
        },
        "frontier": [{"name": "student-w8", **system(0.8, macs=336)}],
        "derived": {"gap_recovered": 0.5, "cost_ratio_at_equal_accuracy": [2.5, None]},
        "verdict": "The mixture wins.",
    }


def write(folder, *documents):
    for number, document in enumerate(documents):
        (folder / f"{number}.json").write_text(json.dumps(document))


@pytest.mark.parametrize("name", ["results_table", "measured_tables"])
def test_the_pages_show_the_committed_files(script, name):
    filling = script("filling")
    for path, block in script(name).pages().items():
        page = path.read_text(encoding="utf-8")
        assert page == filling.fill(page, block), f"{path.name} is not current: run scripts/{name}.py"


def test_no_files_are_said_so(script, tmp_path):
    table = script("results_table")
    assert table.load_results(tmp_path) == []
    assert table.summary([]).startswith("No results are here yet")
    assert table.details([]) == table.summary([])


def test_a_line_per_run_with_the_best_rival_in_bold(script, document):
    line = script("results_table").summary([document]).splitlines()[2]
    # The cascade has one seed, so no spread; class domains were not run; one seed of the ratio has no number.
    assert line == ("| letter | 98.00% ± 0.00 | 804 | 87.00% ± 1.41 | 94.00% ± 1.41 | - | **96.00%** | 50% | - | 2 |")


def test_details_name_every_system_and_the_command(script, document):
    text = script("results_table").details([document])
    assert "`moist reproduce letter`" in text
    assert "| **mixture** | 94.00% ± 1.41 | 804 | 10k | 0.010 | 2 |" in text
    assert "Single students by cost: 336 80.00%." in text


def test_runs_come_in_the_order_of_the_table_and_trials_not_at_all(script, document, tmp_path):
    others = [{**document, "name": name} for name in ("zoo", "letter-small", "digits")]
    partial = {**document, "name": "runtime", "systems": {"mixture": document["systems"]["mixture"]}}
    write(tmp_path, document, *others, partial)
    assert [found["name"] for found in script("results_table").load_results(tmp_path)] == ["digits", "letter", "zoo"]


def test_a_page_without_markers_is_refused(script):
    with pytest.raises(ValueError, match="must hold the lines"):
        script("filling").fill("a page", "a table")
