"""Plots of one run."""

from __future__ import annotations

import numpy as np

from moist.report.figures import (
    calibration_plot,
    class_domain_plot,
    curves_plot,
    dead_specialists,
    load_plot,
    order_classes,
    routing_plot,
)


def test_classes_are_grouped_by_main_domain() -> None:
    counts = np.array([[1, 9], [6, 4], [0, 0], [9, 1], [2, 8]])
    # Domain 0: class 3 (90%), class 1 (60%); domain 1: class 0 (90%), class 4 (80%); class 2 has no inputs.
    assert order_classes(counts).tolist() == [3, 1, 0, 4, 2]


def test_many_classes_keep_their_labels() -> None:
    counts = np.random.default_rng(0).integers(0, 5, (150, 16))
    svg = class_domain_plot([f"intent number {row} with a very long name indeed" for row in range(150)], counts)
    assert svg is not None
    # Cut to one length, and each still there.
    assert svg.count("intent number ") == 150
    assert "indeed" not in svg


def test_a_thousand_classes_can_be_drawn() -> None:
    counts = np.zeros((1000, 4))
    counts[np.arange(1000), np.arange(1000) % 4] = 1
    svg = class_domain_plot([f"class {row}" for row in range(1000)], counts)
    assert svg is not None
    assert "class 7<" not in svg


def test_names_are_text_and_not_markup_or_mathematics() -> None:
    names = ["<script>alert(1)</script>", "$\\frac{$ and 5$", "注文", "a\nb"]
    svg = class_domain_plot(names, np.eye(4))
    assert svg is not None
    assert "<script" not in svg
    assert "$\\frac{$ and 5$" in svg
    assert "注文" in svg


def test_a_specialist_is_dead_under_a_quarter_of_an_equal_share() -> None:
    assert dead_specialists(np.array([0.5, 0.0624, 0.0626, 0.375])) == [1]
    svg = load_plot(np.array([0.5, 0.0624, 0.0626, 0.375]))
    assert svg is not None
    assert "dead under 1/(4K)" in svg


def test_colours_follow_the_page() -> None:
    svg = routing_plot(np.eye(3))
    assert svg is not None
    assert "var(--heat)" in svg
    assert "#0b5c96" not in svg


def test_what_is_missing_is_not_drawn() -> None:
    assert class_domain_plot(["a"], np.zeros((1, 3))) is None
    assert load_plot(np.array([])) is None
    assert routing_plot(None) is None
    assert routing_plot(np.zeros((3, 3))) is None
    assert calibration_plot({}, {}) is None
    assert calibration_plot({"mixture": [(0.5, 0.5, 0)]}, {}) is None
    assert curves_plot({}) is None
    assert curves_plot({"mixture": []}) is None
    assert curves_plot({"mixture": [{"balance": 0.1}]}) is None


def test_curves_of_several_lengths() -> None:
    one = [{"loss": 1.0}]
    many = [{"loss": 5.0 * 0.8**epoch, "accuracy": 0.5} for epoch in range(30)]
    svg = curves_plot({"mixture": many, "generalist": one, **{f"x/specialist-{k}": many for k in range(20)}})
    assert svg is not None
    assert "mixture, 30 epochs" in svg
    assert "generalist, 1 epoch<" in svg


def test_many_calibrated_systems_fill_several_rows() -> None:
    bins = [(0.5, 0.4, 10), (0.0, 0.0, 0), (0.9, 0.95, 100)]
    svg = calibration_plot({f"system {place}": bins for place in range(6)}, {"system 0": 0.03})
    assert svg is not None
    assert "ECE 3.0%" in svg
