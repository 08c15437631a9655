"""Put labels beside points so that they cover neither points, lines nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from moist.report.canvas import text_box
from moist.report.theme import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Label", "place_labels"]

Box = tuple[float, float, float, float]
Label = tuple[float, float, str, str, bool]  # x, y, text, colour name, bold
_DISTANCES = (9.0, 15.0, 24.0, 36.0)
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def place_labels(
    figure: Figure, axes: Axes, labels: Sequence[Label], lines: Sequence[Sequence[tuple[float, float]]]
) -> None:
    """Write each label at the free place nearest to its point, with a thin leader where that is not next to it.

    Args:
        figure: the whole drawing.
        axes: its axes, with their final limits.
        labels: what to write, the most important first.
        lines: the corners (in data units) of each line to keep clear of.
    """
    figure.canvas.draw()
    figure.set_layout_engine("none")  # labels shall not move the axes that they were placed on
    frame = axes.get_window_extent()
    inside = (float(frame.x0), float(frame.y0), float(frame.x1), float(frame.y1))
    taken = [_around(*_pixels(axes, x, y), 6.0) for x, y, *_ in labels] + _along(axes, lines)
    for x, y, text, colour, bold in labels:
        taken.append(_place(axes, (x, y), text, colour, bold, taken, inside))


def _place(
    axes: Axes, point: tuple[float, float], text: str, colour: str, bold: bool, taken: list[Box], inside: Box
) -> Box:
    weight = "bold" if bold else "normal"
    note = axes.annotate(
        text,
        point,
        (0, 0),
        textcoords="offset points",
        color=COLOURS[colour],
        fontsize=9,
        fontweight=weight,
        va="center",
    )
    left, bottom, right, top = text_box(note)
    width, height = right - left, top - bottom
    centre = _pixels(axes, *point)
    choices = [(_box(centre, side, distance, width, height), distance) for distance in _DISTANCES for side in _SIDES]
    best, distance = min(choices, key=lambda choice: _cost(choice[0], choice[1], taken, inside))
    note.remove()
    place = (best[0] - centre[0], (best[1] + best[3]) / 2 - centre[1])
    arrow = {"arrowstyle": "-", "color": COLOURS["muted"], "linewidth": 0.6, "shrinkA": 1, "shrinkB": 4}
    final = axes.annotate(
        text,
        point,
        place,
        textcoords="offset points",
        color=COLOURS[colour],
        fontsize=9,
        fontweight=weight,
        va="center",
        ha="left",
        arrowprops=arrow if distance > 16 else None,
    )
    final.set_gid(f"halo-{len(taken)}")
    return best


def _box(centre: tuple[float, float], side: tuple[int, int], distance: float, width: float, height: float) -> Box:
    x = centre[0] + side[0] * distance + (side[0] - 1) / 2 * width
    y = centre[1] + side[1] * (distance if side[0] == 0 else 0.8 * distance) + (side[1] - 1) / 2 * height
    return x, y, x + width, y + height


def _cost(box: Box, distance: float, taken: Sequence[Box], inside: Box) -> float:
    outside = (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, inside)
    return 20 * outside + sum(_overlap(box, other) for other in taken) + distance


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _pixels(axes: Axes, x: float, y: float) -> tuple[float, float]:
    place = axes.transData.transform((x, y))
    return float(place[0]), float(place[1])


def _around(x: float, y: float, radius: float) -> Box:
    return x - radius, y - radius, x + radius, y + radius


def _along(axes: Axes, lines: Sequence[Sequence[tuple[float, float]]]) -> list[Box]:
    """Return small boxes along every line, near enough to each other that no letter fits between two."""
    boxes = []
    for line in lines:
        for (x0, y0), (x1, y1) in pairwise(_pixels(axes, x, y) for x, y in line):
            pieces = int(max(abs(x1 - x0), abs(y1 - y0)) / 5) + 1
            steps = [step / pieces for step in range(pieces)]
            boxes += [_around(x0 + (x1 - x0) * step, y0 + (y1 - y0) * step, 2.5) for step in steps]
    return boxes
