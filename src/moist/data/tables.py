"""Tables on disk and in memory: Parquet, CSV, TSV and JSONL behind one small interface."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.json as jsonl
import pyarrow.parquet as parquet

from moist.storage import content_key, file_sha256
from moist.types import UserError

__all__ = [
    "TABLE_SUFFIXES",
    "MemoryRows",
    "ParquetRows",
    "Rows",
    "class_names",
    "find_lone_table",
    "find_tables",
    "hub_features",
    "open_table",
]

TABLE_SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
SHARD = re.compile(r"-\d+(-of-\d+)?$")
BLOCK_BYTES = 1 << 24
SCAN_ROWS = 256


class Rows(Protocol):
    """A table that is read when it is asked for."""

    @property
    def origin(self) -> str:
        """What to call the table in an error."""

    @property
    def folder(self) -> Path:
        """Where relative paths in the table start."""

    @property
    def schema(self) -> pa.Schema:
        """The columns, with the source's metadata."""

    @property
    def num_rows(self) -> int:
        """N."""

    def key(self) -> str:
        """Return a name of the content: equal content, equal name."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return these columns."""

    def scan(self, column: str) -> Iterator[pa.Array]:
        """Yield one column piece by piece."""


@dataclass(frozen=True)
class MemoryRows:
    """A table in memory; ``content`` names what it holds."""

    table: pa.Table
    origin: str
    content: str
    folder: Path = Path()

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def num_rows(self) -> int:
        return int(self.table.num_rows)

    def key(self) -> str:
        return self.content

    def read(self, columns: Sequence[str]) -> pa.Table:
        return self.table.select(list(columns))

    def scan(self, column: str) -> Iterator[pa.Array]:
        yield from self.table[column].chunks


@dataclass(frozen=True)
class ParquetRows:
    """One table in one or more Parquet files (shards), read column by column."""

    files: tuple[Path, ...]
    schema: pa.Schema
    num_rows: int

    @property
    def origin(self) -> str:
        return str(self.files[0]) if len(self.files) == 1 else f"{self.files[0]} and its shards"

    @property
    def folder(self) -> Path:
        return self.files[0].parent

    def key(self) -> str:
        return content_key([file_sha256(file) for file in self.files])

    def read(self, columns: Sequence[str]) -> pa.Table:
        try:
            return pa.concat_tables([parquet.ParquetFile(file).read(list(columns)) for file in self.files])
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.files[0], error) from None

    def scan(self, column: str) -> Iterator[pa.Array]:
        try:
            for file in self.files:
                for batch in parquet.ParquetFile(file).iter_batches(SCAN_ROWS, columns=[column]):
                    yield batch.column(0)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.files[0], error) from None


def find_tables(folder: Path) -> dict[str, list[Path]]:
    """Return the table files of each split in ``folder`` or in its ``data`` folder; empty where none is called train.

    Their names are like ``train.csv`` or ``test-00000-of-00002.parquet``.

    Raises:
        UserError: a split is there in two formats.
    """
    for place in (folder, folder / "data"):
        found: dict[str, list[Path]] = {}
        for file in _table_files(place):
            split = SPLIT_NAMES.get(SHARD.sub("", file.stem).lower())
            if split is not None:
                found.setdefault(split, []).append(file)
        for split, files in found.items():
            if len({file.suffix for file in files}) > 1:
                raise UserError(
                    f"a split must be in one format, {split} in {place} is {', '.join(f.name for f in files)}; "
                    "move the others away"
                )
        if "train" in found:
            return found
    return {}


def find_lone_table(folder: Path) -> dict[str, list[Path]]:
    """Return the only table file in ``folder``, whatever its name, as a training part; empty where there is none.

    Raises:
        UserError: there are several, and none is called train.
    """
    files = _table_files(folder)
    if len(files) > 1:
        raise UserError(
            f"a folder of tables must hold a file called train, {folder} holds {', '.join(f.name for f in files)}; "
            "rename the training file, or give the path of one file"
        )
    return {"train": files} if files else {}


def _table_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*") if file.suffix in TABLE_SUFFIXES and file.is_file())


def open_table(files: Sequence[Path], text_columns: bool = False) -> Rows:
    """Open one table, in one or more files of the same columns.

    Args:
        files: Parquet, CSV, TSV or JSONL.
        text_columns: read every CSV column as text, so that a text that looks like a number stays one.

    Raises:
        UserError: a file is missing, damaged or of another type.
    """
    for file in files:
        if not file.is_file():
            raise UserError(f"a data path must exist, there is no file at {file}; check the path")
        if file.suffix not in TABLE_SUFFIXES:
            raise UserError(f"a data file must end in one of {', '.join(TABLE_SUFFIXES)}, got {file}; convert it")
    try:
        if all(file.suffix == ".parquet" for file in files):
            opened = [parquet.ParquetFile(file) for file in files]
            count = sum(item.metadata.num_rows for item in opened)
            return ParquetRows(tuple(files), opened[0].schema_arrow, count)
        table = pa.concat_tables([_read(file, text_columns) for file in files])
    except (pa.ArrowException, OSError) as error:
        raise _damaged(files[0], error) from None
    content = content_key([file_sha256(file) for file in files])
    return MemoryRows(table, str(files[0]), content, files[0].parent)


def _read(file: Path, text_columns: bool) -> pa.Table:
    if file.suffix == ".parquet":
        return parquet.read_table(file)
    if file.stat().st_size == 0:
        raise UserError(f"a data file must have at least one row, {file} is empty; give a file with rows")
    if file.suffix == ".jsonl":
        return jsonl.read_json(file, read_options=jsonl.ReadOptions(block_size=BLOCK_BYTES))
    parse = csv.ParseOptions(delimiter="\t" if file.suffix == ".tsv" else ",", newlines_in_values=True)
    convert = csv.ConvertOptions()
    if text_columns:
        with csv.open_csv(file, parse_options=parse) as reader:
            convert.column_types = {name: pa.string() for name in reader.schema.names}
    options = csv.ReadOptions(block_size=BLOCK_BYTES)
    return csv.read_csv(file, read_options=options, parse_options=parse, convert_options=convert)


def _damaged(file: Path, error: Exception) -> UserError:
    return UserError(f"{file} cannot be read as a table: {str(error).splitlines()[0]}; mend the file or get it again")


def hub_features(schema: pa.Schema) -> dict[str, Any]:
    """Return the Hugging Face features that a file carries as metadata; empty where it carries none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def class_names(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    """Return the class names that the metadata of ``schema`` give the numbers in ``column``, or None."""
    feature = hub_features(schema).get(column)
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    return tuple(str(name) for name in names) if names else None
