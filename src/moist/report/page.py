"""One self-contained HTML page of a run: it opens offline, and the same run gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from moist.report.details import ReportDetails
from moist.report.domains import domain_cards
from moist.report.figures import calibration_plot, class_domain_plot, curves_plot, load_plot, routing_plot
from moist.report.frontier import frontier_inline
from moist.report.tables import has_accuracy, key_numbers, other_numbers, provenance, results_table
from moist.report.theme import COLOURS, DARK, style_variables
from moist.report.wording import number
from moist.storage import write_atomic

__all__ = ["write_report"]


def write_report(metrics: Mapping[str, Any], details: ReportDetails, path: Path) -> None:
    """Write the report of a run as one HTML file that needs nothing else, neither network nor scripts.

    Numbers that were not measured (None or absent) are left out or shown as a dash; plots that need them say why they
    are missing.

    Args:
        metrics: the document of ``metrics.json``.
        details: what is too large for it.
        path: where to write.

    Raises:
        UserError: the disk is full.
    """
    # Text of a data set may hold what UTF-8 can't (lone surrogates): the page shows a question mark there.
    page = _render(metrics, details).encode("utf-8", "replace")
    write_atomic(path, lambda partial: partial.write_bytes(page))


def _render(metrics: Mapping[str, Any], details: ReportDetails) -> str:
    template = files("moist.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    load = np.asarray(details.load, dtype=np.float64)
    return environment.from_string(template).render(
        name=str(metrics.get("name") or "Run"),
        date=str(metrics.get("date") or ""),
        command=str(metrics.get("command") or ""),
        verdict=details.verdict,
        labelled=has_accuracy(metrics),
        key_numbers=key_numbers(metrics, load),
        table=results_table(metrics),
        others=other_numbers(metrics),
        plots=_plots(metrics, details, load),
        domains=domain_cards(details.domains, load),
        kind=_kind(details),
        num_classes=len(details.classes),
        config=details.config,
        provenance=provenance(metrics),
        light=Markup(style_variables(COLOURS)),
        dark=Markup(style_variables(DARK)),
    )


def _plots(metrics: Mapping[str, Any], details: ReportDetails, load: np.ndarray) -> dict[str, Markup | None]:
    ece = {name: number(entry.get("ece")) for name, entry in (metrics.get("systems") or {}).items()}
    drawn = {
        "frontier": frontier_inline(metrics),
        "classes": class_domain_plot(details.classes, details.class_by_domain),
        "load": load_plot(load),
        "routing": routing_plot(details.routing_confusion),
        "calibration": calibration_plot(details.calibration, ece),
        "curves": curves_plot(details.curves),
    }
    # Drawings are our own markup: matplotlib has escaped the names inside them.
    return {name: None if svg is None else Markup(svg) for name, svg in drawn.items()}


def _kind(details: ReportDetails) -> str:
    for kind in ("images", "texts", "features"):
        if any(len(getattr(sample, kind)) for sample in details.domains):
            return kind
    return ""
