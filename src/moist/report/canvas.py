"""Drawing with matplotlib: the only file that imports it, and only once something is drawn.

Figures are built without pyplot (no global state, no window), under settings of our own, and leave as SVG whose bytes
depend on what was drawn alone.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moist.report.theme import COLOURS, as_variables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = [
    "bare",
    "drawing",
    "heat_cells",
    "inline_svg",
    "log_ticks",
    "new_figure",
    "save_figure",
    "standalone_svg",
    "text_box",
]

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "moist",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": COLOURS["muted"],
    "axes.edgecolor": COLOURS["muted"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.7,
    "text.color": COLOURS["ink"],
    "axes.titlecolor": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 72,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Set our style for all that is drawn inside, whatever the user's own matplotlib settings are."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        # Class names come in every script; the reader's fonts show what the measuring font lacks.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure; width and height in inches at 72 dots, so that a font size is a size in points."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bare(axes: Axes) -> None:
    """Remove frame and tick marks, as heat maps want it."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)


def heat_cells(axes: Axes, values: np.ndarray, *, numbers: bool) -> None:
    """Draw a matrix of shares as cells whose opacity is the share, first row on top.

    Opacity and not a colour map: the cells are then right on a light and on a dark background.

    Args:
        axes: where to draw.
        values: (R, K) shares in [0, 1].
        numbers: write the percentage into each cell.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    shown = np.argwhere(values >= 0.005)
    cells = [Rectangle((column + 0.04, row + 0.04), 0.92, 0.92) for row, column in shown]
    colours = [_with_opacity(COLOURS["heat"], float(values[row, column])) for row, column in shown]
    axes.add_collection(PatchCollection(cells, facecolors=colours, edgecolors="none"))
    axes.set_xlim(0, values.shape[1])
    axes.set_ylim(values.shape[0], 0)
    if numbers:
        for row, column in shown:
            share = float(values[row, column])
            colour = COLOURS["onheat"] if share > 0.65 else COLOURS["ink"]
            place = (column + 0.5, row + 0.53)
            axes.annotate(f"{100 * share:.0f}", place, ha="center", va="center", fontsize=7.5, color=colour)
    bare(axes)


def _with_opacity(colour: str, opacity: float) -> tuple[float, float, float, float]:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue, round(0.06 + 0.94 * min(1.0, opacity), 3)


def log_ticks(low: float, high: float) -> list[float]:
    """Return round values between ``low`` and ``high`` for a logarithmic axis: at most nine where decades allow it."""
    decades = range(floor(log10(low)), floor(log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) <= 9:
            break
    return ticks


def text_box(text: Text) -> tuple[float, float, float, float]:
    """Return left, bottom, right, top of a drawn text in points."""
    box = text.get_window_extent()
    return float(box.x0), float(box.y0), float(box.x1), float(box.y1)


def standalone_svg(figure: Figure) -> str:
    """Return a figure as an SVG file: on white, no date, the same bytes for the same drawing."""
    figure.set_facecolor(COLOURS["card"])
    svg = _render(figure)
    figure.set_facecolor("none")
    return svg


def inline_svg(figure: Figure, prefix: str, label: str) -> str:
    """Return a figure as an ``<svg>`` element to stand in a page.

    Args:
        figure: what to show.
        prefix: put before every id, since all figures of a page share one space of names.
        label: what a screen reader says of it.
    """
    svg = _render(figure)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\g<1>#{prefix}-", svg)
    width, height = (float(size) * 72 * 4 / 3 for size in figure.get_size_inches())
    size = f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{_attribute(label)}"'
    svg = re.sub(r'\bwidth="[\d.]+pt"|\bheight="[\d.]+pt"', "", svg.partition(">")[0]) + svg[svg.index(">") :]
    return as_variables(svg.replace("<svg", f"<svg {size}", 1))


def save_figure(figure: Figure, path: Path, kind: str) -> None:
    """Write a figure on white to a file of format ``kind``; pictures of dots have 200 of them per inch."""
    figure.savefig(path, format=kind, dpi=200, facecolor=COLOURS["card"])


def _render(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor=figure.get_facecolor())
    return buffer.getvalue()


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
