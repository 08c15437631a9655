"""The plots of one run: who serves which class, load, routing, calibration and training, as elements of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from moist.report.canvas import drawing, heat_cells, inline_svg, log_ticks, new_figure
from moist.report.systems import describe_system, order_systems
from moist.report.theme import COLOURS
from moist.report.wording import percent_text, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Calibration",
    "Curves",
    "calibration_plot",
    "class_domain_plot",
    "curves_plot",
    "dead_specialists",
    "load_plot",
    "order_classes",
    "routing_plot",
]

Calibration = Mapping[str, Sequence[tuple[float, float, int]]]
Curves = Mapping[str, Sequence[Mapping[str, float]]]

CLASSES_PER_PANEL = 45
MOST_LABELLED_CLASSES = 600
MOST_NUMBERED_CELLS = 260


def order_classes(class_by_domain: np.ndarray) -> np.ndarray:
    """Return the rows of a (C, K) count matrix in reading order: by main domain, then by its share, largest first."""
    shares = _row_shares(class_by_domain)
    main = np.where(shares.any(axis=1), shares.argmax(axis=1), shares.shape[1])
    return np.lexsort((np.arange(len(shares)), -shares.max(axis=1, initial=0.0), main))


def class_domain_plot(classes: Sequence[str], class_by_domain: np.ndarray) -> str | None:
    """Draw which share of each class every specialist serves; None where nothing was counted.

    Many classes are spread over panels side by side, so that each keeps a legible label.
    """
    counts = np.asarray(class_by_domain, dtype=np.float64)
    if counts.size == 0 or not counts.any():
        return None
    order, shares = order_classes(counts), _row_shares(counts)
    num_classes, num_domains = counts.shape
    labelled = num_classes <= MOST_LABELLED_CLASSES
    numbers = num_classes * num_domains <= MOST_NUMBERED_CELLS
    panels = min(ceil(num_classes / CLASSES_PER_PANEL), max(1, 36 // max(num_domains, 4)), 4)
    rows = ceil(num_classes / panels)
    pitch = 0.31 if numbers else 0.17 if labelled else 0.035
    cell = 0.46 if numbers and num_domains <= 12 else max(0.16, min(0.34, 2.0 / num_domains))
    names = [shorten(classes[row] if row < len(classes) else str(row), 22 if panels > 1 else 30) for row in order]
    label = 0.2 + 0.075 * max(len(name) for name in names) if labelled else 0.2
    width = max(3.2, panels * (label + cell * num_domains))
    with drawing():
        figure = new_figure(width, max(1.4, rows * pitch + 0.6))
        for panel, axes in enumerate(figure.subplots(1, panels, squeeze=False)[0]):
            part = slice(panel * rows, (panel + 1) * rows)
            # The last panel keeps the height of the others, so that a row is a row in all of them.
            filled = np.zeros((rows, num_domains))
            filled[: len(order[part])] = shares[order[part]]
            heat_cells(axes, filled, numbers=numbers)
            _label_domains(axes, num_domains, top=True)
            _label_rows(axes, names[part] if labelled else [], 9.0 if numbers else 7.5)
            _mark_blocks(axes, shares[order[part]])
        return inline_svg(figure, "classes", "Share of each class that each specialist serves")


def _row_shares(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts, dtype=np.float64)
    shares: np.ndarray = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    return shares


def _label_domains(axes: Axes, num_domains: int, *, top: bool, size: float = 8.0) -> None:
    step = 1 if num_domains <= 16 else 2 if num_domains <= 32 else 4
    shown = list(range(0, num_domains, step))
    axes.set_xticks([domain + 0.5 for domain in shown], [str(domain) for domain in shown], fontsize=size)
    if top:
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
    axes.set_xlabel("specialist", fontsize=8)
    axes.tick_params(length=0)


def _label_rows(axes: Axes, names: Sequence[str], size: float) -> None:
    axes.set_yticks([row + 0.5 for row in range(len(names))], names, fontsize=size, color=COLOURS["ink"])


def _mark_blocks(axes: Axes, shares: np.ndarray) -> None:
    """Draw a thin line wherever the main domain changes from one row to the next."""
    main = shares.argmax(axis=1)
    for row in np.flatnonzero(np.diff(main)) + 1:
        axes.axhline(float(row), color=COLOURS["grid"], linewidth=0.8, zorder=0)


def dead_specialists(load: np.ndarray) -> list[int]:
    """Return the specialists whose share of the inputs is under a quarter of an equal one, 1 / (4 K)."""
    load = np.asarray(load, dtype=np.float64)
    return [int(domain) for domain in np.flatnonzero(load < 1 / (4 * max(1, len(load))))]


def load_plot(load: np.ndarray) -> str | None:
    """Draw the share of the inputs that each specialist serves, with the equal share and the line of the dead."""
    load = np.asarray(load, dtype=np.float64)
    num_domains = len(load)
    if num_domains == 0:
        return None
    dead = set(dead_specialists(load))
    with drawing():
        figure = new_figure(max(4.6, min(9.5, 1.3 + 0.3 * num_domains)), 3.3)
        axes = figure.add_subplot()
        axes.grid(True, axis="y")
        for domain, share in enumerate(load):
            colour = COLOURS["mixture" if domain in dead else "single"]
            axes.bar(domain + 0.5, share, width=0.72, color=colour, zorder=2)
            if num_domains <= 12:
                text = ("dead\n" if domain in dead else "") + percent_text(float(share), 0 if num_domains > 6 else 1)
                place = (domain + 0.5, float(share))
                note = axes.annotate(text, place, (0, 3), textcoords="offset points", ha="center", fontsize=8, zorder=5)
                note.set_gid(f"halo-bar-{domain}")
        _level(axes, 1 / num_domains, num_domains, "equal share 1/K", "ink", (0, (5, 3)))
        _level(axes, 1 / (4 * num_domains), num_domains, "dead under 1/(4K)", "mixture", (0, (1.5, 2)))
        axes.set_xlim(0, num_domains)
        axes.set_ylim(0, 1.14 * max(float(load.max()), 1.2 / num_domains))
        axes.yaxis.set_major_formatter(lambda value, _: percent_text(value, 0))
        _label_domains(axes, num_domains, top=False)
        axes.set_ylabel("share of test inputs")
        return inline_svg(figure, "load", "Share of the test inputs that each specialist serves")


def _level(
    axes: Axes, height: float, end: float, text: str, colour: str, dashes: tuple[float, tuple[float, float]]
) -> None:
    axes.axhline(height, color=COLOURS[colour], linewidth=1.1, linestyle=dashes, zorder=3)
    note = axes.annotate(
        text, (end, height), (5, 0), textcoords="offset points", va="center", fontsize=7.5, color=COLOURS[colour]
    )
    note.set_gid(f"halo-level-{colour}")


def routing_plot(confusion: np.ndarray | None) -> str | None:
    """Draw where the inputs of each domain were sent; None where it can't be known."""
    if confusion is None or not np.asarray(confusion).any():
        return None
    shares = _row_shares(np.asarray(confusion))
    num_domains = len(shares)
    numbers = num_domains <= 16
    side = max(2.6, min(6.4, (0.36 if numbers else 0.2) * num_domains))
    with drawing():
        figure = new_figure(side + 0.9, side + 0.7)
        axes = figure.add_subplot()
        heat_cells(axes, shares, numbers=numbers)
        _label_domains(axes, num_domains, top=True)
        step = 1 if num_domains <= 16 else 2 if num_domains <= 32 else 4
        shown = list(range(0, num_domains, step))
        axes.set_yticks([domain + 0.5 for domain in shown], [str(domain) for domain in shown])
        axes.set_aspect("equal")
        axes.set_xlabel("specialist it was sent to")
        axes.set_ylabel("domain of the input")
        return inline_svg(figure, "routing", "Share of each domain's inputs sent to each specialist")


def calibration_plot(calibration: Calibration, ece: Mapping[str, float | None]) -> str | None:
    """Draw reliability diagrams, one panel per system, with how many inputs stand behind each point.

    Args:
        calibration: (confidence, accuracy, count) of each bin, for each system.
        ece: expected calibration error of each system, where known.
    """
    names = [name for name in order_systems(calibration) if sum(count for _, _, count in calibration[name]) > 0]
    if not names:
        return None
    tallest = max(
        count / sum(count for *_, count in calibration[name]) for name in names for *_, count in calibration[name]
    )
    columns = min(4, len(names))
    rows = ceil(len(names) / columns)
    with drawing():
        figure = new_figure(max(3.4, 2.45 * columns), 3.35 * rows)
        grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3.2, 1] * rows, sharex=True)
        for axes in grid.flat:
            axes.set_visible(False)
        for place, name in enumerate(names):
            row, column = 2 * (place // columns), place % columns
            _reliability(grid[row, column], name, calibration[name], ece.get(name), first=column == 0)
            _confidences(grid[row + 1, column], name, calibration[name], tallest, first=column == 0)
        return inline_svg(figure, "calibration", "Reliability diagrams: accuracy against confidence")


def _reliability(
    axes: Axes, name: str, bins: Sequence[tuple[float, float, int]], ece: float | None, *, first: bool
) -> None:
    system = describe_system(name)
    filled = [(confidence, accuracy, count) for confidence, accuracy, count in bins if count > 0]
    most = max(count for *_, count in filled)
    axes.set_visible(True)
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    colour = COLOURS[system.colour]
    confidences, accuracies, counts = zip(*filled)
    sizes = [8 + 50 * (count / most) ** 0.5 for count in counts]
    axes.plot(confidences, accuracies, color=colour, linewidth=1.4, zorder=2)
    axes.scatter(confidences, accuracies, s=sizes, color=colour, edgecolor=COLOURS["card"], linewidth=0.7, zorder=3)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.grid(True)
    axes.set_title(system.label[:1].upper() + system.label[1:])
    axes.tick_params(labelbottom=False, labelleft=first)
    if ece is not None:
        axes.annotate(f"ECE {percent_text(ece)}", (0.06, 0.9), fontsize=8, color=COLOURS["muted"])
    if first:
        axes.set_ylabel("accuracy")


def _confidences(
    axes: Axes, name: str, bins: Sequence[tuple[float, float, int]], tallest: float, *, first: bool
) -> None:
    colour = COLOURS[describe_system(name).colour]
    total = sum(count for *_, count in bins)
    axes.set_visible(True)
    for confidence, _, count in bins:
        if count > 0:
            axes.bar(confidence, count / total, width=0.05, color=colour, alpha=0.55)
    axes.set_ylim(0, 1.05 * tallest)
    axes.set_yticks([0, tallest], ["0", percent_text(tallest, 0)])
    axes.tick_params(labelleft=first)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_xlabel("confidence")
    if first:
        axes.set_ylabel("share")


_CURVE_COLOURS = ("single", "cascade", "classes", "random", "other", "oracle")
_CURVE_DASHES = ((0, ()), (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 2, 2)))
MOST_NAMED_CURVES = 12


def curves_plot(curves: Curves) -> str | None:
    """Draw loss and, where it was kept, accuracy over training; None where there is no curve.

    Systems train for different numbers of epochs (cheap ones for more), so the axis is the share of a training.
    """
    names = [name for name in order_systems(curves) if curves[name]]
    values = [
        value for value in ("loss", "accuracy") if any(value in epoch for name in names for epoch in curves[name])
    ]
    if not values:
        return None
    names = [name for name in names if any(value in epoch for value in values for epoch in curves[name])]
    with drawing():
        height = 3.4 + 0.2 * ceil(min(len(names), MOST_NAMED_CURVES) / 3)
        figure = new_figure(9.2 if len(values) > 1 else 6.4, height)
        for axes, value in zip(figure.subplots(1, len(values), squeeze=False)[0], values):
            _draw_curves(axes, curves, names, value)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3 if len(values) > 1 else 2)
        return inline_svg(figure, "curves", "Training curves: " + " and ".join(values))


def _draw_curves(axes: Axes, curves: Curves, names: Sequence[str], value: str) -> None:
    finite: list[float] = []
    for place, name in enumerate(names):
        heights = [epoch.get(value, float("nan")) for epoch in curves[name]]
        finite += [height for height in heights if np.isfinite(height)]
        epochs = len(heights)
        main = name == "mixture"
        known = describe_system(name)
        colour = "mixture" if main else _CURVE_COLOURS[place % len(_CURVE_COLOURS)]
        named = place < MOST_NAMED_CURVES
        axes.plot(
            [(epoch + 1) / epochs for epoch in range(epochs)],
            heights,
            color=COLOURS[colour if named else "grid"],
            linewidth=2.2 if main else 1.3,
            linestyle=_CURVE_DASHES[0 if main else place // len(_CURVE_COLOURS) % len(_CURVE_DASHES)],
            marker="o" if epochs == 1 else None,
            markersize=4,
            label=f"{shorten(known.label, 34)}, {epochs} epoch{'s' * (epochs != 1)}" if named else "_",
            zorder=4 if main else 3 if named else 1,
        )
    axes.grid(True)
    axes.set_title(f"Training {value}")
    axes.set_xlim(0, 1.01)
    axes.set_xlabel("share of the system's own training")
    axes.xaxis.set_major_formatter(lambda share, _: percent_text(share, 0))
    if value == "accuracy":
        axes.yaxis.set_major_formatter(lambda share, _: percent_text(share, 0))
    elif finite and min(finite) > 0 and max(finite) > 8 * min(finite):
        axes.set_yscale("log")
        axes.set_yticks([], minor=True)
        axes.set_yticks(log_ticks(min(finite), max(finite)))
        axes.yaxis.set_major_formatter(lambda height, _: f"{height:g}")
