"""Mixtures of growing size beside single students, run small on real data."""

from __future__ import annotations

from pathlib import Path

import pytest

from moist.experiments import RECIPES
from moist.recipes import frontier
from moist.recipes.study import StudyRequest
from moist.storage import read_json

OVERRIDES = (
    "data.limit=300",
    "teacher={kind: sklearn, estimator: sklearn.ensemble.ExtraTreesClassifier, params: {n_estimators: 20}}",
    "training.epochs=2",
    "controls.max_epochs=2",
    "controls.same_total=false",
    "controls.random_partition=false",
    "controls.class_domains=false",
    "jobs.workers=2",
)


@pytest.fixture
def request_of_digits(tmp_path: Path) -> StudyRequest:
    out = tmp_path / "runs" / "frontier-digits-small"
    command = "moist reproduce frontier-digits"
    return StudyRequest("frontier-digits-small", command, "small", 1, out, tmp_path / "results", OVERRIDES, True)


def test_every_number_of_domains_stands_beside_the_recipes_own_run(
    request_of_digits: StudyRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontier, "GROWTH", (2, 3))
    monkeypatch.setattr(frontier, "OWN", {"digits": {"joint.balance": "0.3"}})
    document = frontier.run_frontier(request_of_digits)
    assert document["name"] == "frontier-digits-small"
    assert [mixture["num_domains"] for mixture in document["mixtures"]] == [2, 3]
    two, three = document["mixtures"]
    # A linear gate on 64 pixels: one more domain is 64 multiply-accumulates more.
    assert three["active_macs"] - two["active_macs"] == pytest.approx(64)
    assert "start" not in document
    assert {"mixture", "student_same_cost", "teacher"} <= set(document["systems"])
    fall = max(0.0, two["accuracy"]["mean"] - three["accuracy"]["mean"])
    assert document["derived"]["largest_fall_with_growth"] == pytest.approx(fall)
    assert document["notes"][0] == (
        "The mixtures of 2 to 3 specialists are trained with joint.balance=0.3; the recipe digits, whose systems stand "
        "beside them, trains its own mixture with joint.balance=0.2."
    )
    assert document["verdict"].startswith("From 2 to 3 specialists accuracy goes from ")
    # The recipe itself was run, for its result file was not there; a second time it is.
    assert read_json(request_of_digits.results_dir / "digits-small.json")["systems"] == document["systems"]
    again = frontier.run_frontier(request_of_digits)
    assert again["mixtures"] == document["mixtures"]


def test_mixtures_that_branch_from_a_finished_student_share_it(
    request_of_digits: StudyRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    branching = {"mixture.shared_start": "0.5", "mixture.restart": "0.5"}
    monkeypatch.setattr(frontier, "GROWTH", (2, 3))
    monkeypatch.setattr(frontier, "OWN", {"digits": branching})
    document = frontier.run_frontier(request_of_digits)
    assert "had 1 epochs as one student and 1 as specialists" in document["notes"][1]
    assert document["start"]["epochs"] == 1
    assert document["start"]["accuracy"]["mean"] > 0.1
    assert document["start"]["active_macs"] < document["mixtures"][0]["active_macs"]  # by the gate

    (start,) = (request_of_digits.out / "starts").iterdir()
    first = read_json(start / "history.json")
    assert len(first) == 1
    for number in (2, 3):
        history = read_json(request_of_digits.out / f"K{number}" / "seed-0" / "jobs" / "mixture" / "history.json")
        assert len(history) == 2
        assert history[0] == first[0]

    trained = (start / "done.json").stat().st_mtime_ns
    monkeypatch.setattr(frontier, "OWN", {"digits": {**branching, "joint.balance": "0.3"}})
    frontier.run_frontier(request_of_digits)
    assert list((request_of_digits.out / "starts").iterdir()) == [start]
    assert (start / "done.json").stat().st_mtime_ns == trained


def test_starved_specialists_are_raised_to_a_least_share_without_training_anew(
    request_of_digits: StudyRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontier, "GROWTH", (2, 12))
    monkeypatch.setattr(frontier, "OWN", {"digits": {}})
    before = frontier.run_frontier(request_of_digits)["mixtures"][1]
    mixture = request_of_digits.out / "K12" / "seed-0" / "jobs" / "mixture"
    trained = (mixture / "done.json").stat().st_mtime_ns

    monkeypatch.setattr(frontier, "OWN", {"digits": {"mixture.least_share": "0.9"}})
    document = frontier.run_frontier(request_of_digits)
    after = document["mixtures"][1]
    assert "mixture.least_share=0.9" in document["notes"][0]
    assert after["smallest_share"][0] > before["smallest_share"][0]
    assert (mixture / "done.json").stat().st_mtime_ns == trained
    levelled = read_json(mixture / "level" / "done.json")["value"]["added"]
    assert min(levelled) == 0 < max(levelled)


def test_the_mixtures_of_cifar10_all_branch_from_small_students_with_an_epoch_left_to_them() -> None:
    for trial in ([], list(RECIPES["cifar10"].small)):
        settings = frontier._settings("cifar10", [*frontier._own("cifar10"), *trial])
        epochs = settings.training.epochs
        assert settings.mixture.restart is not None
        assert settings.mixture.exit is None
        assert 1 <= settings.mixture.shared_epochs(epochs) < epochs


def test_nothing_is_told_of_a_balance_that_is_the_recipes_own_too() -> None:
    assert "trains its own mixture with joint.balance=0.1." in frontier._other_settings("letter", [])[0]
    assert frontier._other_settings("letter", ["joint.balance=0.3"]) == []
    assert frontier._other_settings("digits", []) == []
