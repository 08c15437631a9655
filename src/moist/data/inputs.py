"""Reading new inputs for a model that is trained already: images, texts, rows of tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from moist.data.pictures import decode_image
from moist.data.schema import ImageSchema, Schema, TableSchema, TextSchema, missing_column
from moist.data.tables import TABLE_SUFFIXES, open_table
from moist.types import UserError

__all__ = ["read_inputs"]


def read_inputs(sources: Sequence[str], schema: Schema) -> np.ndarray:
    """Return new inputs as raw inputs of ``schema``, in the order given.

    Args:
        sources: images: paths of files. Texts: the texts themselves, or paths of .txt (one text a line), .csv, .tsv,
            .jsonl or .parquet files. Tables: paths of .csv, .tsv, .jsonl or .parquet files, columns found by name.
        schema: what the model reads.

    Raises:
        UserError: a file is missing or damaged, a column is missing, or nothing is given.
    """
    if not sources:
        raise UserError("at least one input must be given, got none; give images, texts or a table's path")
    try:
        raw = _read(sources, schema)
    except (UnicodeDecodeError, pa.ArrowException) as error:
        raise UserError(
            f"files of inputs must be readable, one of {', '.join(sources)[:300]} is damaged ({error}); get it again, "
            "or save it as UTF-8"
        ) from None
    if not len(raw):
        raise UserError(f"at least one input must be given, {', '.join(sources)} holds none; give a file with rows")
    return raw


def _read(sources: Sequence[str], schema: Schema) -> np.ndarray:
    if isinstance(schema, ImageSchema):
        return np.stack([_image(Path(source), schema) for source in sources])
    if isinstance(schema, TextSchema):
        texts = [text for source in sources for text in _texts(source, schema)]
        return np.array([*texts, None], dtype=object)[:-1]
    return np.concatenate([_rows(Path(source), schema) for source in sources])


def _image(path: Path, schema: ImageSchema) -> np.ndarray:
    return decode_image(path, schema.height, schema.width, schema.channels, str(path))


def _texts(source: str, schema: TextSchema) -> list[str]:
    suffix = Path(source).suffix if len(source.split()) == 1 else ""
    if suffix in TABLE_SUFFIXES:
        table = open_table([Path(source)], text_columns=True)
        if schema.column not in table.schema.names:
            raise missing_column(schema.column, table.schema.names, source)
        return [text or "" for text in table.read([schema.column])[schema.column].to_pylist()]
    if suffix != ".txt":
        return [source]
    try:
        return Path(source).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"a file of texts must exist, there is none at {source}; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"a file of texts must be UTF-8, {source} is not readable so ({error}); convert it") from None


def _rows(path: Path, schema: TableSchema) -> np.ndarray:
    if path.suffix not in TABLE_SUFFIXES:
        raise UserError(
            f"rows of a table must come in a file that ends in one of {', '.join(TABLE_SUFFIXES)}, got {path}; "
            "write the rows to such a file"
        )
    rows = open_table([path])
    wanted = [column.name for column in schema.columns]
    present = [name for name in wanted if name in rows.schema.names]
    if len(present) < len(wanted):
        raise missing_column(next(n for n in wanted if n not in present), rows.schema.names, str(path))
    return schema.encode_frame(rows.read(present), str(path))
