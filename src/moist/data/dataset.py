"""Data as the rooms above see them: raw inputs, numbered labels, and a fingerprint of the content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np

from moist.data.schema import Schema

__all__ = ["DataSplits", "IndexedDataset", "content_fingerprint"]

HASH_ROWS = 4096


@dataclass(frozen=True)
class IndexedDataset:
    """One split of a data set, raw, its rows numbered from 0.

    Args:
        name: of the data set.
        split: train, validation or test.
        kind: vision, text or tabular.
        inputs: raw. Vision: uint8 (N, H, W, C), possibly memory-mapped. Tabular: float32 (N, F), numbers and category
            codes, NaN = missing. Text: (N,) strings.
        target: (N,) int64 class numbers, or None where there are no labels.
        classes: names, in the order of the class numbers; empty where nothing names them.
        schema: what one input looks like.
        fingerprint: equal data have an equal one; computed from the content where it is left empty.
    """

    name: str
    split: str
    kind: str
    inputs: np.ndarray
    target: np.ndarray | None
    classes: tuple[str, ...]
    schema: Schema
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", content_fingerprint(self))

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: np.ndarray) -> IndexedDataset:
        """Return the data set of these rows (int64 numbers), in their order."""
        target = None if self.target is None else self.target[rows]
        return replace(self, inputs=_take(self.inputs, rows), target=target, fingerprint="")


@dataclass(frozen=True)
class DataSplits:
    """The parts of one data set; ``test`` is None where there is none."""

    train: IndexedDataset
    validation: IndexedDataset
    test: IndexedDataset | None


def content_fingerprint(dataset: IndexedDataset) -> str:
    """Return 32 hex digits that name the content: inputs, labels, classes and schema, not the data set's name."""
    described = [dataset.kind, list(dataset.classes), dataset.schema.to_dict(), len(dataset)]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    _hash_array(digest, dataset.inputs)
    if dataset.target is not None:
        _hash_array(digest, dataset.target)
    return digest.hexdigest()[:32]


def _hash_array(digest: hashlib._Hash, values: np.ndarray) -> None:
    if values.dtype.kind in "OU":
        for text in values:
            data = str(text).encode("utf-8", "surrogatepass")
            # The length keeps ["ab", "c"] and ["a", "bc"] apart.
            digest.update(len(data).to_bytes(8, "little") + data)
        return
    digest.update(f"{values.dtype.str}{values.shape}".encode())
    for start in range(0, len(values), HASH_ROWS):
        digest.update(np.ascontiguousarray(values[start : start + HASH_ROWS]).data)


def _take(inputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the rows; a run of consecutive rows stays a view, so that memory-mapped data stay on disk."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and np.all(np.diff(rows) == 1):
        return inputs[int(rows[0]) : int(rows[-1]) + 1]
    return np.asarray(inputs[rows])
