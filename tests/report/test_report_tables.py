"""Rows and key numbers from a result document."""

from __future__ import annotations

import numpy as np
from report_examples import example_metrics, system

from moist.report.systems import describe_system, order_systems
from moist.report.tables import Row, key_numbers, other_numbers, provenance, results_table


def cell_of(rows: list[Row], title: str, column: int):  # type: ignore[no-untyped-def]
    return next(row for row in rows if row.title == title).cells[column]


def test_the_mixture_comes_first_and_the_teacher_last() -> None:
    order = order_systems(["teacher", "own_baseline", "cascade", "mixture_oracle_router", "mixture"])
    assert order == ["mixture", "cascade", "own_baseline", "mixture_oracle_router", "teacher"]


def test_unknown_systems_and_pieces_get_plain_names() -> None:
    assert describe_system("own_baseline").title == "Own baseline"
    assert describe_system("mixture_class_domains/specialist-3").label == "class domains: specialist 3"


def test_the_best_value_may_be_another_system_than_the_mixture() -> None:
    rows = list(results_table(example_metrics()).rows)
    # Oracle router (98.5%) and teacher (98.0%) are not in the running.
    assert cell_of(rows, "Mixture, deferring when unsure", 0).mark == "best"
    assert cell_of(rows, "Mixture of specialists", 0).mark == ""
    assert cell_of(rows, "Mixture with an oracle router", 0).mark == ""
    assert cell_of(rows, "Teacher", 0).mark == ""
    assert cell_of(rows, "Generalist", 1).mark == "best"


def test_accuracies_within_the_spread_are_ties() -> None:
    # Seeds 0.001 apart have a standard deviation of 0.001, so two systems are told apart beyond 0.0014.
    metrics = {"systems": {"mixture": system(0.95, 1, 1, 3), "generalist": system(0.949, 1, 1, 3)}}
    metrics["systems"]["cascade"] = system(0.945, 1, 1, 3)
    rows = list(results_table(metrics).rows)
    assert [row.cells[0].mark for row in rows] == ["best", "tie", ""]


def test_one_seed_is_judged_by_the_number_of_test_inputs() -> None:
    # Standard error of 90% over 100 inputs: sqrt(0.9 * 0.1 / 100) = 0.03.
    systems = {"mixture": system(0.9, 1, 1, 1), "generalist": system(0.88, 1, 1, 1), "cascade": system(0.86, 1, 1, 1)}
    table = results_table({"systems": systems, "data": {"test": 100}})
    assert [row.cells[0].mark for row in table.rows] == ["best", "tie", ""]
    assert table.rows[0].cells[0].spread == ""
    assert "One seed" in table.note


def test_what_nobody_measured_has_no_column() -> None:
    systems = {"mixture": {"active_macs": 804, "agreement": 0.91}, "generalist": {"active_macs": 480}}
    table = results_table({"systems": systems})
    assert table.columns == ["Agreement with teacher", "Active MACs"]
    assert table.rows[1].cells[0].text == "–"


def test_key_numbers() -> None:
    figures = {figure.title: figure for figure in key_numbers(example_metrics(), np.array([0.5, 0.49, 0.01]))}
    assert figures["points against one student of the same cost"].value == "+3.0"
    assert figures["of the gap to the teacher closed"].value == "50%"
    assert figures["the MACs in one student of equal accuracy"].value == "2.6×"
    assert figures["specialists in use"].value == "2 of 3"
    assert figures["specialists in use"].note == "dead: 2"


def test_a_worse_mixture_says_so() -> None:
    metrics = {"systems": {"mixture": system(0.90, 800, 1, 1), "student_same_cost": system(0.92, 800, 1, 1)}}
    metrics["derived"] = {"gap_recovered": -0.33, "cost_ratio_at_equal_accuracy": 0.7}  # type: ignore[dict-item]
    figures = key_numbers(metrics, np.array([]))
    assert [figure.value for figure in figures][1:4] == ["−2.0", "−33%", "0.7×"]
    assert "cheaper" in figures[3].note


def test_nothing_measured_gives_nothing() -> None:
    assert key_numbers({}, np.array([])) == []
    assert results_table({}).rows == []
    assert provenance({}) == []


def test_the_rest_is_kept() -> None:
    metrics = {**example_metrics(), "published": {"accuracy": 0.97}}
    assert other_numbers(metrics) == [("Routed right", "0.87"), ("Published: accuracy", "0.97")]
    facts = dict(provenance(metrics))
    assert facts["Data"] == "digits; 1,258 train, 179 validation, 360 test"
    assert facts["Teacher"] == "SVM and three MLPs, 2.5 M parameters"
    assert facts["Machine"] == "cpu some CPU, cores 4"
    assert facts["Time taken"] == "1 min 33 s"
