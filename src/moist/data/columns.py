"""Which column holds the input and which the label, and what kind of table it is."""

from __future__ import annotations

import statistics
from itertools import islice

import pyarrow as pa

from moist.data.schema import holds_strings, listed_columns, missing_column, reads_as_numbers
from moist.data.settings import DataSettings
from moist.data.tables import Rows, class_names, hub_features
from moist.types import UserError

__all__ = ["image_column", "label_column", "text_column", "with_kind"]

LABEL_NAMES = ("label", "labels", "target", "class")
IMAGE_NAMES = ("image", "img")
TEXT_NAMES = ("text", "sentence")
# A number so called beside a text is not an input that would be missed.
ROW_NAMES = ("id", "idx", "index", "row", "", "unnamed: 0", "__index_level_0__")
LONG_TEXT_WORDS = 3
SAMPLE = 1000


def with_kind(settings: DataSettings, rows: Rows) -> DataSettings:
    """Return ``settings`` with the kind that the columns tell, and for texts their column.

    A column of images makes images, numbers alone make a table, and a single column of long texts, with nothing beside
    it but the label and row numbers, makes texts.

    Raises:
        UserError: the columns could be read in more than one way, or a named one is missing.
    """
    if image_column(rows.schema, settings.input_column, rows.origin) is not None:
        return settings.model_copy(update={"kind": "vision"})
    if settings.input_column is not None:
        return settings.model_copy(update={"kind": "text"})
    label = label_column(rows.schema, settings.label_column, rows.origin)
    inputs = [name for name in rows.schema.names if name != label and name not in settings.drop_columns]
    words = [name for name in inputs if _holds_words(rows, name)]
    if not words:
        return settings.model_copy(update={"kind": "tabular"})
    others = [name for name in inputs if name not in words and name.lower() not in ROW_NAMES]
    if len(words) > 1 or others or not _holds_long_texts(rows, words[0]):
        classes = "" if label else ", and data.label_column if a column holds the classes"
        raise UserError(
            "the kind of a table must be given unless it has images, numbers alone, or one column of long texts alone; "
            f"{rows.origin} has the columns [{listed_columns(rows.schema.names)}]; set data.kind to text or tabular"
            f"{classes}"
        )
    return settings.model_copy(update={"kind": "text", "input_column": words[0]})


def label_column(schema: pa.Schema, named: str | None, origin: str) -> str | None:
    """Return the column of classes, or None where there is none.

    Raises:
        UserError: the named column is missing, or several columns hold classes and none is named.
    """
    if named is not None:
        if named not in schema.names:
            raise missing_column(named, schema.names, origin)
        return named
    for name in LABEL_NAMES:
        if name in schema.names:
            return name
    classed = [name for name in schema.names if class_names(schema, name)]
    if len(classed) > 1:
        raise UserError(
            f"one column must hold the classes, {origin} has {', '.join(classed)}; name one as label_column"
        )
    return classed[0] if classed else None


def image_column(schema: pa.Schema, named: str | None, origin: str) -> str | None:
    """Return the column of encoded images, or None where there is none.

    Raises:
        UserError: the named column is missing.
    """
    if named is not None and named not in schema.names:
        raise missing_column(named, schema.names, origin)
    features = hub_features(schema)
    found: list[str] = [f.name for f in schema if _holds_images(f.type, features.get(f.name))]
    if named is not None:
        return named if named in found else None
    for name in (*IMAGE_NAMES, *found):
        if name in found:
            return name
    return None


def text_column(schema: pa.Schema, named: str | None, label: str | None, origin: str) -> str:
    """Return the column of texts: the named one, ``text``, or the only column of strings that is not the label.

    Raises:
        UserError: the named column is missing or holds no strings, or none can be told from the others.
    """
    texts: list[str] = [f.name for f in schema if f.name != label and holds_strings(f.type)]
    if named is not None:
        if named not in schema.names:
            raise missing_column(named, schema.names, origin)
        if named not in texts:
            raise UserError(
                f"input_column must hold strings and not be the label, {named!r} of {origin} holds "
                f"{schema.field(named).type}; choose another column"
            )
        return named
    for name in TEXT_NAMES:
        if name in texts:
            return name
    if len(texts) == 1:
        return texts[0]
    raise UserError(
        f"one column must hold the texts, {origin} has the string columns [{listed_columns(texts)}] among "
        f"[{listed_columns(schema.names)}]; name one as input_column"
    )


def _holds_images(kind: pa.DataType, feature: object) -> bool:
    if isinstance(feature, dict) and feature.get("_type") == "Image":
        return True
    if pa.types.is_struct(kind):
        return any(_is_binary(kind.field(i).type) and kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_words(rows: Rows, column: str) -> bool:
    return holds_strings(rows.schema.field(column).type) and not all(map(reads_as_numbers, rows.scan(column)))


def _holds_long_texts(rows: Rows, column: str) -> bool:
    """Tell texts from names and categories: they have several words, and seldom repeat."""
    texts = list(islice((text for piece in rows.scan(column) for text in piece[:SAMPLE].to_pylist() if text), SAMPLE))
    several = len(texts) > 0 and statistics.median(len(text.split()) for text in texts) >= LONG_TEXT_WORDS
    return several and len(set(texts)) > len(texts) / 2
