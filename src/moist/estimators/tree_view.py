"""What a fitted tree of gates looks like: text and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from moist.estimators.gate import TreeGate

__all__ = ["TreeView", "draw_tree", "tree_text"]


@dataclass(frozen=True)
class TreeView:
    """A tree of gates in words.

    Args:
        gate: the gates, on standardised inputs.
        shares_K: (K,) share of the training rows that each expert answers for.
        leaves: what each expert stands for, in a few words.
        feature_names: (D,) names.
        num_features: how many inputs of a gate to name.
        decimals: of its coefficients.
    """

    gate: TreeGate
    shares_K: np.ndarray
    leaves: Sequence[str]
    feature_names: Sequence[str]
    num_features: int
    decimals: int

    def share(self, level: int, position: int) -> float:
        """Return the share of the training rows below a node."""
        return float(self.shares_K.reshape(self.gate.branching**level, -1)[position].sum())

    def score(self, level: int, position: int, child: int) -> str:
        """Return what speaks for a child of a gate: its largest coefficients, relative to the other children's mean."""
        node = sum(self.gate.branching**above for above in range(level)) + position
        coef_DB = self.gate.coef_PDB[node][1:]
        slopes_D = (coef_DB - coef_DB.mean(axis=1, keepdims=True))[:, child]
        largest = np.argsort(-np.abs(slopes_D), kind="stable")[: self.num_features]
        return ", ".join(f"{slopes_D[i]:+.{self.decimals}f} {self.feature_names[i]}" for i in largest)


def tree_text(view: TreeView) -> str:
    """Return the tree as indented lines, a line per gate's child and per expert."""
    return "\n".join(["gate", *_lines(view, 0, 0)]) + "\n"


def _lines(view: TreeView, level: int, position: int) -> list[str]:
    lines = []
    for child in range(view.gate.branching):
        below = position * view.gate.branching + child
        last = level + 1 == view.gate.depth
        name = f"expert {below}: {view.leaves[below]}" if last else "gate"
        share = f"{view.share(level + 1, below):.0%} of the rows"
        lines.append(f"{'|   ' * level}|--- {name} ({share}) where {view.score(level, position, child)}")
        if not last:
            lines += _lines(view, level + 1, below)
    return lines


def draw_tree(view: TreeView, ax: Any, fontsize: float | None) -> list[Any]:
    """Draw the tree, the root on top, and return the annotations."""
    axes = plt.gca() if ax is None else ax
    axes.clear()
    axes.set_axis_off()
    drawn: list[Any] = []
    _draw(view, 0, 0, axes, fontsize, drawn)
    return drawn


def _draw(view: TreeView, level: int, position: int, axes: Any, fontsize: float | None, drawn: list[Any]) -> None:
    place = _place(view, level, position)
    style = {"boxstyle": "round", "fc": "white", "ec": "black"}
    text = f"{_title(view, level, position)}\n{view.share(level, position):.0%} of the rows"
    options = {"ha": "center", "va": "center", "xycoords": "axes fraction", "bbox": style, "fontsize": fontsize}
    if level:
        above = _place(view, level - 1, position // view.gate.branching)
        axes.annotate("", place, above, xycoords="axes fraction", arrowprops={"arrowstyle": "->"})
    if level < view.gate.depth:
        for child in range(view.gate.branching):
            _draw(view, level + 1, position * view.gate.branching + child, axes, fontsize, drawn)
    drawn.append(axes.annotate(text, place, **options))


def _title(view: TreeView, level: int, position: int) -> str:
    if level == view.gate.depth:
        return f"expert {position}\n{view.leaves[position]}"
    first = view.score(level, position, 0).split(", ")[0]
    return f"gate\nleft where {first}"


def _place(view: TreeView, level: int, position: int) -> tuple[float, float]:
    """Return where a node stands, in fractions of the axes."""
    return (position + 0.5) / view.gate.branching**level, 1 - (level + 0.5) / (view.gate.depth + 1)
