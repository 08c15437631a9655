"""Chains from a mixture to its teacher, run small on real data."""

from __future__ import annotations

from pathlib import Path

import pytest

from moist.recipes import deferring
from moist.recipes.study import StudyRequest
from moist.types import UserError

TEACHER = (
    "teacher={kind: sklearn, estimator: sklearn.neural_network.MLPClassifier, "
    "params: {hidden_layer_sizes: [64, 64], max_iter: 60, random_state: 0}}"
)
OVERRIDES = ("training.epochs=2", "controls.max_epochs=2", "jobs.workers=2", "controls.class_domains=false")


def request(tmp_path: Path, *overrides: str) -> StudyRequest:
    out = tmp_path / "runs" / "deferring-digits-small"
    command = "moist reproduce deferring-digits"
    given = (*OVERRIDES, *overrides)
    return StudyRequest("deferring-digits-small", command, "small", 1, out, tmp_path / "results", given, True)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_chains_keep_to_a_fifth_of_the_teachers_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = {"name": "small", "params": {"hidden_layer_sizes": [32], "max_iter": 60, "random_state": 0}}
    monkeypatch.setattr(deferring, "BETWEEN", {"digits": second})
    monkeypatch.setattr(deferring, "SHARE_OF_TEACHER", 0.5)
    document = deferring.run_deferring(request(tmp_path, TEACHER))
    systems = document["systems"]
    budget = document["derived"]["budget_macs"]
    assert budget == 0.5 * systems["teacher"]["active_macs"]
    for name in ("cascade_of_student", "cascade_of_generalist", "chain_of_students", "chain", "chain_from_student"):
        folds = systems[name]["links"]
        assert len(folds) == 2
        assert all(links[-1]["name"] == "teacher" and links[0]["share"] == 1.0 for links in folds)
        assert systems[name]["active_macs"] < 1.1 * budget
        under = 100 * (systems["teacher"]["accuracy"]["mean"] - systems[name]["accuracy"]["mean"])
        assert document["derived"]["points_under_teacher"][name] == pytest.approx(under)
    # After two epochs the students know little: who may ask the teacher must be ahead.
    assert systems["chain"]["accuracy"]["mean"] > systems["mixture"]["accuracy"]["mean"] + 0.05
    assert sum(document["derived"]["chains_chosen"].values()) == 2
    assert document["verdict"].startswith("For ")


def test_a_teacher_whose_cost_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    trees = "teacher={kind: sklearn, estimator: sklearn.ensemble.ExtraTreesClassifier, params: {n_estimators: 5}}"
    with pytest.raises(UserError, match="must be made of matrix products"):
        deferring.run_deferring(request(tmp_path, trees))
