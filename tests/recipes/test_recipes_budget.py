"""The search for a mixture's shape, run small on real data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moist.config import load_config
from moist.recipes import DistillSettings, budget, distill
from moist.recipes.workspace import prepare
from moist.types import UserError

Make = Callable[..., DistillSettings]
NO_CONTROLS = {"enabled": False}

EXIT = {"trunk_stages": 1, "router": {"reads": "trunk"}, "exit": {"width": 2}}


def test_the_chosen_shape_keeps_the_budget_and_says_why(digits: Make, tmp_path: Path) -> None:
    settings = digits(budget={"macs": 1200}, controls=NO_CONTROLS)
    metrics = distill(settings, tmp_path / "run", quiet=True)
    mixture, search = metrics["systems"]["mixture"], metrics["search"]
    assert mixture["active_macs"] <= 1200
    first, last = search["rounds"]
    # A student of width w costs 74 w, the gate 64 K; 32 domains leave nothing for the width.
    assert {entry["name"] for entry in first} == {f"K{k}-trunk0-w{w}" for k, w in ((2, 14), (4, 12), (8, 9), (16, 2))}
    assert len(last) == 2
    assert search["chosen"] == last[0]["name"]
    assert first == sorted(first, key=lambda entry: (-entry["validation_accuracy"], entry["active_macs"]))
    assert search["why"] in metrics["notes"]
    # What was chosen is what the run's configuration says: it needs no search again.
    resolved = load_config(DistillSettings, tmp_path / "run" / "config.yaml")
    assert resolved.budget.macs is None
    assert f"K{resolved.mixture.num_domains}-trunk0-w{resolved.student.width}" == search["chosen"]


def test_rounds_get_three_times_the_epochs_and_a_third_of_the_shapes() -> None:
    assert budget._schedule(2, 60) == [20]
    assert budget._schedule(5, 60) == [7, 20]
    assert budget._schedule(20, 81) == [3, 9, 27]
    assert budget._schedule(20, 2) == [1, 1, 1]


def test_convolutional_students_are_tried_with_late_branches_and_wide_ones(digits: Make) -> None:
    settings = digits(
        student={"family": "resnet"},
        mixture={"trunk_stages": 1, "router": {"reads": "trunk"}},
        budget={"macs": 100_000},
    )
    _, space = prepare(settings, quiet=True)
    shapes = budget._candidates(space)
    assert {shape.settings.mixture.trunk_stages for shape in shapes} == {1, 2, 3}
    assert all(shape.macs <= 100_000 for shape in shapes)
    wide = [shape for shape in shapes if shape.settings.student.tail_width is not None]
    assert wide
    for shape in wide:
        student = shape.settings.student
        assert student.tail_width == round(1.5 * student.width)
        assert student.tail_from == shape.settings.mixture.trunk_stages


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": {"macs": 100}}, "the cheapest of family 'mlp' costs 202 per input"),
        ({"budget": {"macs": 900}, "mixture": {"method": "random"}}, "budget.macs needs mixture.method=joint"),
        ({"budget": {"macs": 900}, "mixture": EXIT}, "specialists of one size, got mixture.exit"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_the_teacher_speaks(
    digits: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, message: str
) -> None:
    monkeypatch.setattr("moist.recipes.workspace.load_teacher", lambda *_, **__: pytest.fail("the teacher was asked"))
    with pytest.raises(UserError, match=message):
        distill(digits(**changes), tmp_path / "run", quiet=True)
