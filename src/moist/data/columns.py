"""Which column holds the input and which the label."""

from __future__ import annotations

import pyarrow as pa

from moist.data.schema import missing_column
from moist.data.tables import class_names, hub_features
from moist.types import UserError

__all__ = ["image_column", "label_column", "text_column"]

LABEL_NAMES = ("label", "labels", "target", "class")
IMAGE_NAMES = ("image", "img")
TEXT_NAMES = ("text", "sentence")


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
    texts: list[str] = [f.name for f in schema if f.name != label and _holds_text(f.type)]
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
        f"one column must hold the texts, {origin} has the string columns [{', '.join(texts)}] among "
        f"[{', '.join(schema.names)}]; name one as input_column"
    )


def _holds_images(kind: pa.DataType, feature: object) -> bool:
    if isinstance(feature, dict) and feature.get("_type") == "Image":
        return True
    if pa.types.is_struct(kind):
        return any(_is_binary(kind.field(i).type) and kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
