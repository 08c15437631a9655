"""Data sets of the public hub, through the optional library ``datasets``; the only file that imports it."""

from __future__ import annotations

import importlib
from typing import Any

from moist.data.tables import SPLIT_NAMES, MemoryRows, Rows
from moist.storage import content_key
from moist.types import UserError

__all__ = ["load_from_hub"]


def load_from_hub(name: str) -> dict[str, Rows]:
    """Return the splits of ``owner/name`` or ``owner/name:configuration``, encoded images left encoded.

    Raises:
        UserError: ``datasets`` is not installed, or the data set cannot be reached or read.
    """
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise UserError(
            f'the library datasets must be installed to read {name} from the hub; pip install "moist[hf]", '
            "or download the data and give data.path"
        ) from None
    place, _, configuration = name.partition(":")
    try:
        loaded = datasets.load_dataset(place, configuration or None)
    except Exception as error:  # The library passes on whatever its many parts raise.
        raise UserError(
            f"the data set {name} must be reachable on the hub, it could not be read "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}); check the name "
            "and the network, or download the data and give data.path"
        ) from None
    splits = {
        SPLIT_NAMES[key]: _rows(datasets, part, f"{name} {key}") for key, part in loaded.items() if key in SPLIT_NAMES
    }
    if "train" not in splits:
        raise UserError(
            f"a data set must have a train split, {name} has {', '.join(loaded)}; download the data and give data.path"
        )
    return splits


def _rows(datasets: Any, part: Any, origin: str) -> Rows:
    for column, feature in part.features.items():
        if isinstance(feature, datasets.Image):
            part = part.cast_column(column, datasets.Image(decode=False))
    table = part.with_format("arrow")[:]
    table = table.replace_schema_metadata(part.features.arrow_schema.metadata)
    return MemoryRows(table, origin, content_key(origin, part._fingerprint))
