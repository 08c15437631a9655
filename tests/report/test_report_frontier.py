"""The picture of accuracy against cost."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_examples import example_metrics, system

from moist.report import frontier_figure, save_frontier
from moist.types import UserError


def test_every_system_is_named() -> None:
    svg = frontier_figure(example_metrics(), "digits & co <1>")
    ElementTree.fromstring(svg)
    for label in (
        "mixture 95.0%",
        "class domains",
        "random partition",
        "cascade",
        "deferring",
        "oracle router (bound)",
    ):
        assert label in svg
    for label in ("teacher 98.0%", "single distilled students", "same cost", "digits &amp; co &lt;1&gt;"):
        assert label in svg


def test_the_same_document_gives_the_same_picture() -> None:
    assert frontier_figure(example_metrics(), "t") == frontier_figure(example_metrics(), "t")


def test_a_far_teacher_becomes_a_level() -> None:
    metrics = example_metrics()
    metrics["systems"]["teacher"]["active_macs"] = 1.36e10
    assert "teacher 98.0% (13.6 G MACs)" in frontier_figure(metrics, "")


def test_one_system_is_enough() -> None:
    svg = frontier_figure({"systems": {"mixture": system(0.9, 800, 1000, 1)}}, "")
    assert "mixture 90.0%" in svg
    assert "single distilled students" not in svg


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(UserError, match="got none"):
        frontier_figure({"systems": {"mixture": {"accuracy": None, "active_macs": 800}}}, "")


def test_pictures_on_disk(tmp_path: Path) -> None:
    save_frontier(example_metrics(), tmp_path / "images" / "digits.svg")
    save_frontier(example_metrics(), tmp_path / "digits.png")
    assert (tmp_path / "images" / "digits.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"digits\.pdf"):
        save_frontier(example_metrics(), tmp_path / "digits.pdf")


def test_mixtures_of_other_numbers_of_domains_are_a_line_of_their_own() -> None:
    point = {"num_domains": 32, "accuracy": {"mean": 0.96, "std": 0.001, "values": [0.96]}, "active_macs": 848}
    svg = frontier_figure({**example_metrics(), "mixtures": [point]}, "")
    assert "K = 32" in svg
    assert "K = 32" not in frontier_figure(example_metrics(), "")
