"""The committed result files keep the schema that others script against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moist.experiments import RECIPES, STUDIES
from moist.recipes.results import verdict

RESULTS = Path(__file__).parents[2] / "results"
FILES = sorted(path for path in RESULTS.glob("*.json") if not path.stem.startswith("bench-"))
RUNS = [path for path in FILES if path.stem not in STUDIES]
KEYS = {
    *("schema", "name", "command", "date", "data", "teacher", "seeds", "versions", "machine", "seconds"),
    *("systems", "frontier", "derived", "published", "notes", "verdict"),
}
COSTS = {"active_macs", "active_params", "total_params", "bytes"}


@pytest.fixture(params=RUNS, ids=lambda path: path.stem)
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(request.param.read_text())


def test_every_experiment_has_its_result_file() -> None:
    assert {path.stem for path in FILES} >= {*RECIPES, *STUDIES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_document_is_whole(path: Path) -> None:
    document = json.loads(path.read_text())
    assert set(document) >= KEYS
    assert document["schema"] == 1
    assert document["command"].startswith(f"moist reproduce {document['name']}")
    assert set(document["data"]) >= {"name", "train", "validation", "test"}
    assert set(document["versions"]) >= {"moist", "python", "torch"}
    assert set(document["machine"]) >= {"cpu", "cores", "accelerator"}
    assert document["verdict"]


def test_the_verdict_of_a_run_follows_from_its_numbers(document: dict[str, Any]) -> None:
    assert document["verdict"] == verdict(document)


def test_every_system_has_its_accuracy_and_cost(document: dict[str, Any]) -> None:
    for name, entry in [*document["systems"].items(), *((e["name"], e) for e in document["frontier"])]:
        values = entry["accuracy"]["values"]
        assert entry["accuracy"]["mean"] == pytest.approx(sum(values) / len(values)), name
        assert all(0 <= value <= 1 for value in values), name
        assert set(entry) >= COSTS, name


def test_the_compared_points_have_every_seed_and_the_control_costs_no_less(document: dict[str, Any]) -> None:
    mixture, student = document["systems"]["mixture"], document["systems"]["student_same_cost"]
    assert len(mixture["accuracy"]["values"]) == len(student["accuracy"]["values"]) == len(document["seeds"]) >= 3
    assert student["active_macs"] >= 0.999 * mixture["active_macs"]
