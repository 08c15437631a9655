"""From labels as a source writes them (numbers, names, true/false) to numbered classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from moist.types import UserError

__all__ = ["LabelSpace", "RawLabels", "fit_labels", "without_hidden"]

MANY_CLASSES = 1000


@dataclass(frozen=True)
class RawLabels:
    """Labels as the source has them.

    Args:
        values: (N,) numbers, strings or booleans.
        names: the names that the source gives the numbers 0, 1, ..., if it does.
        origin: file, column and so on, for errors.
    """

    values: pa.Array | pa.ChunkedArray
    names: tuple[str, ...] | None
    origin: str


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set, and the class names that bare numbers stand for."""

    classes: tuple[str, ...]
    spoken: dict[str, str] = field(default_factory=dict)

    def number(self, labels: RawLabels) -> np.ndarray:
        """Return the (N,) int64 class numbers of ``labels``.

        Raises:
            UserError: a label is missing, or is none of the classes.
        """
        indices, names = _distinct(labels)
        names = [self.spoken.get(name, name) for name in names]
        known = {name: code for code, name in enumerate(self.classes)}
        foreign = [name for name in names if name not in known]
        if foreign:
            raise UserError(
                f"every label must be one of the training part's classes; {labels.origin} also has "
                f"{_listed(foreign)}, the classes are {_listed(self.classes)}; mend the labels, or list all "
                "classes in data.classes"
            )
        codes = np.array([known[name] for name in names], dtype=np.int64)
        return np.asarray(codes[indices])


def without_hidden(labels: RawLabels) -> RawLabels | None:
    """Return None where all labels are -1, the public hub's mark for a part whose labels are kept secret."""
    kinds = labels.values.type
    if pa.types.is_integer(kinds) and len(labels.values) and set(labels.values.unique().to_pylist()) == {-1}:
        return None
    return labels


def fit_labels(labels: RawLabels, classes: Sequence[str] | None) -> LabelSpace:
    """Return the classes of the training labels: as given, else as the source names them, else sorted.

    Raises:
        UserError: a label is missing, there are too many classes, or ``classes`` does not fit the labels.
    """
    indices, names = _distinct(labels)
    if labels.names is None and len(names) > max(MANY_CLASSES, len(indices) // 2):
        raise UserError(
            f"labels must be classes that repeat; {labels.origin} has {len(names)} different values in {len(indices)} "
            "rows; choose another label_column"
        )
    if classes is None:
        return LabelSpace(labels.names or tuple(sorted(names, key=_number_first)))
    spoken: dict[str, str] = {}
    if labels.names is None and all(map(_is_whole, names)) and not set(names) <= set(classes):
        spoken = _spoken(sorted(names, key=int), classes, labels.origin)
    space = LabelSpace(tuple(classes), spoken)
    space.number(labels)
    return space


def _spoken(numbers: list[str], classes: Sequence[str], origin: str) -> dict[str, str]:
    """Match bare numbers with names: by their value from 0, else in their order."""
    if int(numbers[0]) >= 0 and int(numbers[-1]) < len(classes):
        return {str(code): name for code, name in enumerate(classes)}
    if len(numbers) == len(classes):
        return dict(zip(numbers, classes, strict=True))
    raise UserError(
        f"classes must name every label; {origin} has the {len(numbers)} labels {_listed(numbers)}, "
        f"classes names {len(classes)}: {_listed(classes)}; list one name for each label"
    )


def _distinct(labels: RawLabels) -> tuple[np.ndarray, list[str]]:
    """Return for each row the position of its label in the list of different labels, and that list."""
    values = labels.values
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    encoded = values.dictionary_encode(null_encoding="encode")
    indices = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
    distinct = encoded.dictionary.to_pylist()
    gone = [position for position, value in enumerate(distinct) if _is_missing(value)]
    if gone:
        rows = np.flatnonzero(np.isin(indices, gone))
        raise UserError(
            f"every example needs a label; {len(rows)} of {len(indices)} in {labels.origin} have none (first: row "
            f"{rows[0] + 1}); drop those rows, or drop the label column to train on the teacher alone"
        )
    return indices, [_name(value, labels) for value in distinct]


def _name(value: Any, labels: RawLabels) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int):
        raise UserError(
            f"labels must be whole numbers, strings or true/false; {labels.origin} holds {value!r}; "
            "choose another label_column"
        )
    if labels.names is None:
        return str(value)
    if not 0 <= value < len(labels.names):
        raise UserError(
            f"labels of {labels.origin} must be 0 to {len(labels.names) - 1} (its metadata name {len(labels.names)} "
            f"classes), got {value}; drop those rows or mend the metadata"
        )
    return labels.names[value]


def _is_missing(value: Any) -> bool:
    return (
        value is None or (isinstance(value, float) and value != value) or (isinstance(value, str) and not value.strip())
    )


def _is_whole(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _number_first(name: str) -> tuple[bool, int, str]:
    whole = _is_whole(name)
    return not whole, int(name) if whole else 0, name


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"[{', '.join(names[:most])}{more}]"
