"""The curve of a study of mutual distillation: what each weight did to the network and to its experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moist.report.canvas import drawing, log_ticks, new_figure, standalone_svg
from moist.report.theme import COLOURS
from moist.storage import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["save_sweep"]

PANELS = {
    "accuracy": "Network: points above no mutual distillation",
    "own_part": "Experts alone on their own part: points above none",
    "disagreement": "Experts that disagree, % of rows (dashed: none)",
}
FORMS = {
    "squared": ("mixture", "o", "squared distance"),
    "kl": ("single", "s", "divergence"),
    "chosen": ("cascade", "^", "squared, among the chosen"),
}


def save_sweep(document: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy, accuracy on own parts and disagreement of experts against the weight, as an SVG file.

    Args:
        document: a study's result document, whose ``derived.sweep`` holds for every form a list of points: ``weight``
            (0 first), and ``accuracy``, ``own_part`` and ``disagreement``, each with ``mean`` and the seeds'
            ``values``.
        path: where to write.
    """
    with drawing():
        figure = new_figure(12.5, 3.6)
        for axes, (value, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items()):
            _draw(axes, document["derived"]["sweep"], value)
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("weight of mutual distillation")
        figure.axes[0].legend(loc="lower left")
        text = standalone_svg(figure)
    write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _draw(axes: Axes, sweep: Mapping[str, Sequence[Mapping[str, Any]]], value: str) -> None:
    axes.set_xscale("log")
    axes.grid(True)
    absolute = value == "disagreement"
    for form, points in sweep.items():
        colour, marker, label = FORMS[form]
        start, *tried = points
        weights = [point["weight"] for point in tried]
        # Differences seed by seed: what seeds have in common is no uncertainty of the comparison.
        bases = [0.0] * len(start[value]["values"]) if absolute else start[value]["values"]
        gaps = [[100 * (a - b) for a, b in zip(point[value]["values"], bases)] for point in tried]
        means = [sum(gap) / len(gap) for gap in gaps]
        axes.fill_between(weights, [min(g) for g in gaps], [max(g) for g in gaps], color=COLOURS[colour], alpha=0.15)
        axes.plot(weights, means, color=COLOURS[colour], marker=marker, markersize=4, label=label)
    base = 100 * next(iter(sweep.values()))[0][value]["mean"] if absolute else 0.0
    every = [point["weight"] for points in sweep.values() for point in points[1:]]
    axes.set_xticks([], minor=True)
    axes.set_xticks(log_ticks(min(every), max(every)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.axhline(base, color=COLOURS["muted"], linewidth=1.0, linestyle=(0, (5, 3)))
