"""The heat map of an expert probe."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moist.report.canvas import drawing, heat_cells, new_figure, save_figure
from moist.storage import write_atomic

__all__ = ["save_probe"]


def save_probe(accuracy: np.ndarray, sizes: np.ndarray, path: Path) -> None:
    """Draw each expert's accuracy (rows) on the part of the data that the gate gives to each (columns), as a PNG file.

    Args:
        accuracy: (E, E) fractions; NaN where a part is empty, drawn as 0.
        sizes: (E,) examples in each part.
        path: where to write.
    """
    num_experts = len(accuracy)
    side = max(3.2, min(8.0, 0.42 * num_experts + 1.2))
    with drawing():
        figure = new_figure(side + 0.9, side + 0.7)
        axes = figure.add_subplot()
        heat_cells(axes, np.nan_to_num(accuracy), numbers=num_experts <= 16)
        places = [expert + 0.5 for expert in range(num_experts)]
        axes.set_yticks(places, [str(expert) for expert in range(num_experts)])
        axes.set_xticks(places, [f"{expert}\n{size}" for expert, size in enumerate(sizes)])
        axes.set_xlabel("part of the data by the gate, and its size")
        axes.set_ylabel("expert alone")
        axes.set_title("Accuracy of each expert, %")
        write_atomic(path, lambda partial: save_figure(figure, partial, "png"))
