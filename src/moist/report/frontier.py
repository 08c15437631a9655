"""Accuracy against cost: every system of a result file beside the frontier of single distilled students."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moist.report.canvas import drawing, inline_svg, log_ticks, new_figure, save_figure, standalone_svg
from moist.report.labels import Label, place_labels
from moist.report.systems import SINGLE_STUDENTS, System, describe_system, order_systems
from moist.report.theme import COLOURS
from moist.report.wording import count_text, mean_std, number, percent_text
from moist.storage import write_atomic
from moist.types import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["frontier_figure", "frontier_inline", "save_frontier"]

# A teacher so much dearer than the rest is drawn as a level, so that it does not squeeze the students into a corner.
FAR_TEACHER = 100.0


@dataclass(frozen=True)
class _Point:
    system: System
    macs: float | None
    accuracy: float
    std: float | None


def frontier_figure(metrics: Mapping[str, Any], title: str) -> str:
    """Draw accuracy against active cost as a standalone SVG file (on white).

    Args:
        metrics: a result document, as ``metrics.json``.
        title: written above the plot.

    Raises:
        UserError: no system of the document has both an accuracy and a cost.
    """
    with drawing():
        return standalone_svg(_draw(metrics, title))


def save_frontier(metrics: Mapping[str, Any], path: Path) -> None:
    """Write :func:`frontier_figure`, titled with the document's name, to a ``.svg`` or ``.png`` file.

    Raises:
        UserError: the suffix is neither, or no system has both an accuracy and a cost.
    """
    suffix = path.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise UserError(f"a picture is written as .svg or .png, got {path.name!r}; give the file one of these endings")
    title = str(metrics.get("name", ""))
    if suffix == ".svg":
        text = frontier_figure(metrics, title)
        write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))
        return
    with drawing():
        figure = _draw(metrics, title)
        # The temporary file that is renamed has another ending, so the format is given by a name of our own.
        write_atomic(path, lambda partial: save_figure(figure, partial, "png"))


def frontier_inline(metrics: Mapping[str, Any]) -> str | None:
    """Draw the same as an element of a page; None where no system has both an accuracy and a cost."""
    with drawing():
        try:
            figure = _draw(metrics, "")
        except UserError:
            return None
        return inline_svg(figure, "frontier", "Accuracy against active multiply-accumulates per input, all systems")


def _draw(metrics: Mapping[str, Any], title: str) -> Figure:
    singles, others, levels = _points(metrics)
    if not any(point.macs for point in [*singles, *others]):
        raise UserError(
            "a frontier needs systems with an accuracy and active_macs, got none; measure on data with labels"
        )
    figure = new_figure(9.2, 5.2)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.grid(True)
    line = [(point.macs or 0.0, point.accuracy) for point in singles]
    if line:
        axes.plot(*zip(*line), color=COLOURS["single"], linewidth=1.8, zorder=2)
    grown = _grown(metrics)
    if grown:
        path = [(point.macs or 0.0, point.accuracy) for point in grown]
        axes.plot(*zip(*path), color=COLOURS["mixture"], linewidth=1.4, zorder=2)
    others = [*others, *grown]
    for point in [*singles, *others]:
        _draw_point(axes, point)
    for point in levels:
        axes.axhline(point.accuracy, color=COLOURS[point.system.colour], linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
    _set_limits(axes, [*singles, *others], levels)
    axes.set_xlabel("active multiply-accumulates per input (log scale)")
    axes.set_ylabel("accuracy on the test split")
    if title:
        axes.set_title(title)
    ends = axes.get_xlim()
    lines = [line, *([(end, point.accuracy) for end in ends] for point in levels)]
    place_labels(figure, axes, list(_labels(axes, singles, others, levels)), lines)
    return figure


def _points(metrics: Mapping[str, Any]) -> tuple[list[_Point], list[_Point], list[_Point]]:
    """Return single students by rising cost, the other systems, and teachers that are drawn as a level."""
    systems: Mapping[str, Any] = metrics.get("systems") or {}
    points = {name: point for name in order_systems(systems) if (point := _point(name, systems[name]))}
    singles: dict[float, _Point] = {}
    for name in SINGLE_STUDENTS:
        if name in points and points[name].macs:
            singles.setdefault(points[name].macs or 0.0, points[name])
    for entry in metrics.get("frontier") or ():
        point = _point("", entry)
        if point and point.macs:
            singles.setdefault(point.macs, point)
    rest = [point for name, point in points.items() if name not in SINGLE_STUDENTS]
    costs = [point.macs for point in [*singles.values(), *rest] if point.macs and point.system.part != "teacher"]
    far = FAR_TEACHER * max(costs, default=float("inf"))
    levels = [point for point in rest if point.system.part == "teacher" and (not point.macs or point.macs > far)]
    others = [point for point in rest if point.macs and point not in levels]
    return [singles[macs] for macs in sorted(singles)], others, levels


def _grown(metrics: Mapping[str, Any]) -> list[_Point]:
    """Return the mixtures of other numbers of domains, where they were measured, by that number."""
    points = []
    for entry in metrics.get("mixtures") or ():
        accuracy, std = mean_std(entry.get("accuracy"))
        if accuracy is not None:
            system = System("", "", f"K = {entry['num_domains']}", "", "control", "mixture", "s")
            points.append(_Point(system, number(entry.get("active_macs")), accuracy, std))
    return points


def _point(name: str, entry: Mapping[str, Any]) -> _Point | None:
    accuracy, std = mean_std(entry.get("accuracy"))
    if accuracy is None:
        return None
    macs = number(entry.get("active_macs"))
    system = describe_system(name) if name else describe_system("generalist")
    if not name:
        system = System("", "", "", "", "single", "single", "s")
    return _Point(system, macs if macs and macs > 0 else None, accuracy, std)


def _draw_point(axes: Axes, point: _Point) -> None:
    system, macs = point.system, point.macs or 0.0
    colour = COLOURS[system.colour]
    main = system.part == "mixture"
    if point.std:
        axes.errorbar(macs, point.accuracy, yerr=point.std, color=colour, linewidth=1.1, capsize=2.5, zorder=3)
    hollow = system.part == "bound"
    axes.scatter(
        [macs],
        [point.accuracy],
        s={"mixture": 120, "teacher": 130, "single": 30}.get(system.part, 58),
        marker=system.marker,
        facecolor=COLOURS["card"] if hollow else colour,
        edgecolor=colour if hollow else COLOURS["card"],
        linewidth=1.4 if hollow or main else 0.8,
        zorder=5 if main else 4,
    )


def _set_limits(axes: Axes, points: list[_Point], levels: list[_Point]) -> None:
    costs = [point.macs for point in points if point.macs]
    low, high = min(costs) / 1.45, max(costs) * 1.6
    axes.set_xlim(low, high)
    axes.set_xticks([], minor=True)
    axes.set_xticks(log_ticks(low, high))
    axes.xaxis.set_major_formatter(lambda value, _: count_text(value))
    ends = [point.accuracy + sign * (point.std or 0) for point in [*points, *levels] for sign in (-1, 1)]
    span = max(max(ends) - min(ends), 0.02)
    axes.set_ylim(min(ends) - 0.1 * span, max(ends) + 0.12 * span)
    axes.yaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 2):g}%")


def _labels(
    axes: Axes, singles: Iterable[_Point], others: Iterable[_Point], levels: Iterable[_Point]
) -> Iterator[Label]:
    singles = list(singles)
    for point in sorted(others, key=lambda point: point.system.part != "mixture"):
        main = point.system.part in ("mixture", "teacher")
        text = f"{point.system.label} {percent_text(point.accuracy)}" if main else point.system.label
        yield point.macs or 0.0, point.accuracy, text, point.system.colour, main
    left = axes.get_xlim()[0]
    for point in levels:
        cost = f" ({count_text(point.macs)} MACs)" if point.macs else ""
        yield left, point.accuracy, f"{point.system.label} {percent_text(point.accuracy)}{cost}", "teacher", True
    if singles:
        last = max(singles, key=lambda point: point.macs or 0.0)
        yield last.macs or 0.0, last.accuracy, "single distilled students", "single", True
    for point in singles:
        if point.system.label:
            yield point.macs or 0.0, point.accuracy, point.system.label, "single", False
