"""The page as a whole."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_examples import example_details, example_metrics

from moist.report import DomainSample, ReportDetails, write_report

SECTIONS = [
    "verdict",
    "numbers",
    "results",
    "frontier",
    "classes",
    "load",
    "routing",
    "calibration",
    "domains",
    "curves",
    "config",
    "provenance",
]
VOID = {"meta", "img", "link", "br", "use"}


class Outline(HTMLParser):
    """Sections, ids and references of a page; fails on tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
            if tag == "section":
                self.sections.append(str(values["id"]))
        self.references += [str(values[name]) for name in ("src", "href", "xlink:href") if values.get(name)]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def written(path: Path, metrics: dict[str, Any], details: ReportDetails) -> tuple[str, Outline]:
    write_report(metrics, details, path)
    page = path.read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    return page, outline


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Outline]:
    return written(tmp_path_factory.mktemp("report") / "report.html", example_metrics(), example_details())


def test_every_section_in_order(digits: tuple[str, Outline]) -> None:
    page, outline = digits
    assert outline.sections == SECTIONS
    assert page.count("<svg") == 6
    assert page.count("data:image/png;base64,") == 64
    assert "Not drawn" not in page
    assert "The mixture is 3.0 points better" in page
    assert "moist reproduce digits --budget full" in page
    assert "num_domains: 8" in page


def test_it_opens_offline(digits: tuple[str, Outline]) -> None:
    page, outline = digits
    assert outline.references
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in outline.references)
    assert not re.search(r"https?://", page)
    assert not outline.tags & {"script", "link", "iframe", "object"}
    assert not re.search(r"url\((?!#)", page)


def test_ids_are_unique_and_references_resolve(digits: tuple[str, Outline]) -> None:
    page, outline = digits
    assert len(outline.ids) == len(set(outline.ids))
    inner = {reference[1:] for reference in outline.references if reference.startswith("#")}
    assert inner | set(re.findall(r"url\(#([^)]+)\)", page)) <= set(outline.ids)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, digits: tuple[str, Outline]) -> None:
    write_report(example_metrics(), example_details(), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == digits[0]


def test_text_of_the_data_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script><img src=https://example.org/x.png>"
    sample = DomainSample(texts=[evil, "half \ud800 a pair"], features=[(evil, 1.0)], top_classes=[(evil, 1.0)])
    details = dataclasses.replace(
        example_details(),
        verdict=evil,
        classes=[evil] * 10,
        domains=[sample],
        config=f"name: {evil}",
        curves={evil: [{"loss": 1.0}]},
        calibration={evil: [(0.5, 0.5, 3)]},
    )
    metrics = {**example_metrics(), "name": evil, "command": evil, "teacher": {"name": evil}}
    metrics["systems"][evil] = metrics["systems"]["cascade"]
    page, outline = written(tmp_path / "report.html", metrics, details)
    assert "script" not in outline.tags
    assert all(reference.startswith(("#", "data:")) for reference in outline.references)
    assert "&lt;script&gt;alert(&#39;x&#39;)" in page


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    page, _ = written(tmp_path / "report.html", example_metrics(seeds=1), example_details())
    assert "±" not in page
    assert "One seed was run" in page


def test_without_labels(tmp_path: Path) -> None:
    metrics = example_metrics()
    for entry in [*metrics["systems"].values(), *metrics["frontier"]]:
        entry["accuracy"] = entry["ece"] = None
    metrics["derived"] = {"gap_recovered": None, "cost_ratio_at_equal_accuracy": None}
    details = dataclasses.replace(
        example_details(), class_by_domain=np.zeros((10, 8)), routing_confusion=None, calibration={}
    )
    page, outline = written(tmp_path / "report.html", metrics, details)
    assert outline.sections == SECTIONS
    assert "The data carry no labels" in page
    assert page.count("Not drawn") == 4
    assert "None" not in page
    assert not re.search(r"\bnan\b", page)


def test_almost_nothing_measured(tmp_path: Path) -> None:
    details = ReportDetails("Nothing yet.", [], np.zeros((0, 2)), np.array([1.0, 0.0]), None, {}, [])
    metrics = {"systems": {"mixture": {}, "teacher": {"accuracy": {"mean": None}, "latency_ms": None}}}
    page, outline = written(tmp_path / "report.html", metrics, details)
    assert outline.sections == SECTIONS
    assert "None" not in page


def test_a_hundred_and_fifty_classes_of_text(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 6, (150, 12))
    details = ReportDetails(
        verdict="The single student is better here.",
        classes=[f"intent {row}" for row in range(150)],
        class_by_domain=counts,
        load=counts.sum(axis=0) / counts.sum(),
        routing_confusion=np.eye(12),
        calibration={},
        domains=[DomainSample(texts=["where is my card? " * 40], top_classes=[("intent 3", 0.2)])] * 12,
    )
    page, _ = written(tmp_path / "report.html", example_metrics(), details)
    assert all(f">intent {row}<" in page for row in range(150))
    assert "…</li>" in page


def test_tables_show_signed_bars(tmp_path: Path) -> None:
    sample = DomainSample(features=[("elevation", -2.0), ("slope", 1.0)])
    details = dataclasses.replace(example_details(2), domains=[sample, DomainSample()])
    page, _ = written(tmp_path / "report.html", example_metrics(), details)
    assert '<i class="negative" style="width: 50.0%"></i>' in page
    assert '<i style="width: 25.0%"></i>' in page
    assert "No inputs were sent here." in page


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3), (8, 8, 4), (8, 8, 2), (200, 300, 3)])
def test_pictures_of_any_shape(shape: tuple[int, ...]) -> None:
    from moist.report.domains import thumbnail_uri

    assert thumbnail_uri(np.zeros(shape, dtype=np.uint8)).startswith("data:image/png;base64,")


def test_importing_the_room_does_not_import_matplotlib() -> None:
    code = "import sys, moist.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
