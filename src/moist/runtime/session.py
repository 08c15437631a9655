"""A session that answers inputs with an exported mixture; it runs only the specialists that it routes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moist.errors import UserError
from moist.runtime.engine import RuntimeName
from moist.runtime.exported import open_export
from moist.runtime.mixture import GroupedMixture
from moist.runtime.prediction import RoutedPrediction
from moist.runtime.reading import TableReader, make_reader

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RoutedSession"]

ROWS = 1024  # of a batch that run at once: more would only take memory


class RoutedSession:
    """An exported mixture, opened. Any number of threads may use it.

    One input goes through the routed graph, several are grouped by specialist. Where specialists must make room for
    each other (``max_resident``, ``memory_budget``), or there are many, one input is a group of one. Under
    such a limit a batch goes from specialist to specialist, so that its threads hold one at a time.

    Args:
        path: the folder that ``moist export`` wrote, or the bundle that holds it.
        runtime: what runs the graphs.
        max_resident: most specialists in memory, those used last; None for all that were used.
        memory_budget: most bytes of specialists in memory, as their files count them; None for no limit.
        threads: that one prediction may use: a batch is shared out among them, and one input's routed graph splits its
            operators.

    Attributes:
        classes: the C class names, in the order of the probabilities.
        num_domains: K.
        kind: vision, text or tabular.
        name: of the mixture.
        input_schema: what one raw input looks like, as in ``bundle.json``.
        manifest: everything in the export's ``manifest.json``: costs, measured numbers, checksums.

    Raises:
        UserError: there is no export, a file is missing or damaged, or a limit leaves no room for one specialist.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        runtime: RuntimeName = "onnxruntime",
        max_resident: int | None = None,
        memory_budget: int | None = None,
        threads: int = 1,
    ) -> None:
        exported = open_export(path)
        self.manifest = exported.manifest
        self.classes = tuple(self.manifest["classes"])
        self.num_domains = len(exported.specialists)
        self.input_schema: dict[str, Any] = self.manifest["input"]
        self.kind: str = self.input_schema["kind"]
        self.name: str = self.manifest["name"]
        self._reader = make_reader(self.input_schema, self.manifest["transform"])
        self._mixture: GroupedMixture | None = GroupedMixture(exported, runtime, max_resident, memory_budget, threads)
        self._macs = _Macs(self.manifest["costs"])

    @property
    def resident(self) -> tuple[int, ...]:
        """Numbers of the specialists that were opened for groups and are in memory, the one used last at the end."""
        return self._opened().residents.resident

    def predict(self, raw: np.ndarray | Sequence[str]) -> RoutedPrediction:
        """Answer N raw inputs: uint8 images (N, H, W, C), N texts, or table rows (N, F) from :meth:`encode`.

        Raises:
            UserError: there is none, or they are of another shape or kind.
        """
        mixture, inputs = self._opened(), self._reader.read(raw)
        if len(inputs) == 1:
            return self._answer(*mixture.run_one(inputs))
        if not len(inputs):
            raise UserError("predict needs at least one input, got none")
        parts = [mixture.run(inputs[start : start + ROWS]) for start in range(0, len(inputs), ROWS)]
        return self._answer(*(np.concatenate(column) for column in zip(*parts)))

    def _answer(self, probabilities: np.ndarray, domains: np.ndarray, deferred: np.ndarray) -> RoutedPrediction:
        return RoutedPrediction(probabilities, domains[:, 0], deferred, self._macs(domains, deferred))

    def votes(self, raw_one: np.ndarray | Sequence[str]) -> np.ndarray:
        """Return every specialist's probabilities (K, C) for one raw input, as :meth:`predict` takes it with N = 1.

        Raises:
            UserError: it is not one input, or of another shape or kind.
        """
        mixture, inputs = self._opened(), self._reader.read(raw_one)
        if len(inputs) != 1:
            raise UserError(f"votes are of one input, got {len(inputs)}; ask for each by itself")
        return mixture.votes(inputs)

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return table rows, given as mappings from column to value, as raw inputs (N, F) float32.

        Raises:
            UserError: a column is missing, or a numeric column holds something else; or the mixture reads no tables.
        """
        if not isinstance(self._reader, TableReader):
            raise UserError(f"encode is for rows of tables, this mixture reads {self.kind} inputs; call predict")
        return self._reader.encode(rows)

    def close(self) -> None:
        """Let go of everything in memory; what is being answered is still answered."""
        self._mixture = None

    def _opened(self) -> GroupedMixture:
        if self._mixture is None:
            raise UserError("this session was closed; open another one")
        return self._mixture

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Macs:
    """What an answer took: trunk and router, the specialists that ran, and the generalist where it was asked."""

    def __init__(self, costs: Mapping[str, Any]) -> None:
        self._shared = float(costs["trunk"]["macs"] + costs["router"]["macs"])
        self._specialists = np.array([cost["macs"] for cost in costs["specialists"]], dtype=np.float64)
        self._generalist = 0.0 if costs["generalist"] is None else float(costs["generalist"]["macs"])

    def __call__(self, domains: np.ndarray, deferred: np.ndarray) -> np.ndarray:
        macs: np.ndarray = self._specialists[domains].sum(axis=1) + self._shared
        if self._generalist:
            macs += self._generalist * deferred
        return macs
