"""A session that answers inputs with an exported mixture; it runs only the specialists that it routes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from typing_extensions import Self

from moist.runtime.prediction import RoutedPrediction

__all__ = ["RoutedSession"]


class RoutedSession:
    """An exported mixture, opened. Any number of threads may use it.

    Args:
        path: the folder that ``moist export`` wrote, or the bundle that holds it as ``onnx``.
        runtime: what runs the graphs.
        max_resident: most specialists in memory, those used last; None for all that were used.
        memory_budget: most bytes of specialists in memory, as their files count them; None for no limit.
        threads: that one prediction may use.

    Attributes:
        classes: the C class names, in the order of the probabilities.
        num_domains: K.
        kind: vision, text or tabular.
        name: of the mixture.
        input_schema: what one raw input looks like, as in ``bundle.json``.
        manifest: everything in the export's ``manifest.json``: costs, measured numbers, checksums.
    """

    classes: tuple[str, ...]
    num_domains: int
    kind: Literal["vision", "text", "tabular"]
    name: str
    input_schema: dict[str, Any]
    manifest: dict[str, Any]

    def __init__(
        self,
        path: str | Path,
        *,
        runtime: Literal["onnxruntime", "openvino"] = "onnxruntime",
        max_resident: int | None = None,
        memory_budget: int | None = None,
        threads: int = 1,
    ) -> None:
        raise NotImplementedError

    def predict(self, raw: np.ndarray | Sequence[str]) -> RoutedPrediction:
        """Answer N raw inputs: uint8 images (N, H, W, C), N texts, or table rows (N, F) from :meth:`encode`.

        Raises:
            UserError: there is none, or they are of another shape or kind.
        """
        raise NotImplementedError

    def votes(self, raw_one: np.ndarray | Sequence[str]) -> np.ndarray:
        """Return every specialist's probabilities (K, C) for one raw input, as :meth:`predict` takes it with N = 1."""
        raise NotImplementedError

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return table rows, given as mappings from column to value, as raw inputs (N, F) float32.

        Raises:
            UserError: a column is missing, or a numeric column holds something else; or the mixture reads no tables.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything in memory."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
