"""Opening a source: its splits, their inputs and labels, whatever form they come in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from moist.data.catalog import BUILT_IN, data_root, find_built_in
from moist.data.columns import image_column, label_column, text_column, with_kind
from moist.data.hub import load_from_hub
from moist.data.idx import find_idx, read_idx
from moist.data.image_folders import find_image_folders
from moist.data.labels import RawLabels, without_hidden
from moist.data.pictures import Pictures, array_pictures, file_pictures, row_pictures
from moist.data.schema import TextSchema, listed_columns, missing_column
from moist.data.settings import DataSettings
from moist.data.tables import Rows, class_names, find_lone_table, find_tables, open_table
from moist.progress import say
from moist.storage import content_key, file_sha256
from moist.types import UserError

__all__ = ["Part", "Source", "open_source"]


@dataclass(frozen=True)
class Part:
    """One split as its source holds it.

    Args:
        origin: what to call it in an error.
        inputs: pictures; or (N,) strings, None where one is missing; or a table of the input columns.
        labels: (N,) labels, or None.
    """

    origin: str
    inputs: Pictures | np.ndarray | pa.Table
    labels: RawLabels | None


@dataclass(frozen=True)
class Source:
    """An opened source: ``train``, and ``validation`` and ``test`` where it has them.

    ``text`` tells which column texts were read from.
    """

    name: str
    kind: str
    parts: Mapping[str, Part]
    text: TextSchema | None = None


def open_source(settings: DataSettings) -> Source:
    """Open the source that ``settings`` name; pictures are not decoded yet.

    Raises:
        UserError: the source is missing or damaged, or lacks a column.
    """
    if settings.name is not None:
        source = _open_built_in(settings.name, settings)
    elif settings.path is not None:
        path = Path(settings.path).expanduser()
        source = _open_path(path, path.stem if path.is_file() else path.resolve().name, settings.kind, settings)
    else:
        tables = load_from_hub(str(settings.hub))
        settings = settings if settings.kind else with_kind(settings, tables["train"])
        source = _open_tables(tables, str(settings.hub), str(settings.kind), settings)
    if settings.test_path is None:
        return source
    path = Path(settings.test_path).expanduser()
    if source.text is not None:
        settings = settings.model_copy(update={"input_column": source.text.column})
    apart = _open_path(path, source.name, source.kind, settings)
    test = apart.parts.get("test", apart.parts["train"])
    return Source(source.name, source.kind, {**source.parts, "test": test}, source.text)


def _open_built_in(name: str, settings: DataSettings) -> Source:
    entry = BUILT_IN[name]
    if entry.folder is None:
        return Source(name, entry.kind, {"train": _digits()})
    place = find_built_in(name)
    if place is not None:
        return _open_path(place, name, entry.kind, settings)
    root = data_root()
    looked = f"not in {root}" if root else "nowhere, since MOIST_DATA is not set"
    remedy = f"set MOIST_DATA to a folder that holds {entry.folder}, or give your own copy as data.path"
    if entry.hub is None:
        raise UserError(f"{name} must be on this machine: it is {looked}; {remedy}")
    say(f"{name} is {looked}; asking the hub for {entry.hub}")
    try:
        tables = load_from_hub(entry.hub)
    except UserError as error:
        raise UserError(f"{name} is {looked}, and the hub did not give it: {error}; or {remedy}") from None
    return _open_tables(tables, name, entry.kind, settings)


def _digits() -> Part:
    """Return scikit-learn's 1,797 handwritten digits, their 17 shades spread over 0 to 255."""
    # Imported here, since it takes longer than all the rest of this room, and few data sets need it.
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return Part("digits", array_pictures(images, "digits"), RawLabels(pa.array(digits.target), None, "digits"))


def _open_path(path: Path, name: str, kind: str | None, settings: DataSettings) -> Source:
    if not path.exists():
        raise UserError(
            f"a data path must exist, there is nothing at {path}; check the path (relative ones start at {Path.cwd()})"
        )
    files = {"train": [path]} if path.is_file() else find_tables(path)
    parts = {} if files else _idx_parts(path) or _folder_parts(path)
    if not files and not parts:
        files = find_lone_table(path)
    if files:
        if kind is None:
            settings = with_kind(settings, open_table(files["train"]))
            kind = str(settings.kind)
        tables = {split: open_table(found, kind == "text") for split, found in files.items()}
        return _open_tables(tables, name, kind, settings)
    if not parts:
        raise UserError(
            f"a data folder must hold train.parquet (or .csv, .tsv, .jsonl), IDX files, or a folder of images for each "
            f"class; {path} holds none of them; check the path"
        )
    if kind not in (None, "vision"):
        raise UserError(f"{path} holds images, got kind: {kind}; leave kind out, or give the path of a table")
    return Source(name, "vision", parts)


def _idx_parts(folder: Path) -> dict[str, Part]:
    found = find_idx(folder)
    if found and "train" not in found:
        raise UserError(f"a folder of IDX files must hold train-images, {folder} does not; add the training files")
    parts = {}
    for split, (image_file, label_file) in found.items():
        images = read_idx(image_file)
        if images.ndim != 3:
            raise UserError(
                f"an IDX file of images must have 3 axes, {image_file} has {images.ndim}; get the file again"
            )
        labels = None if label_file is None else RawLabels(pa.array(read_idx(label_file)), None, str(label_file))
        pictures = array_pictures(images[..., None], content_key(file_sha256(image_file)))
        parts[split] = _part(str(image_file), pictures, labels)
    return parts


def _folder_parts(folder: Path) -> dict[str, Part]:
    parts = {}
    for split, found in find_image_folders(folder).items():
        labels = None if found.labels is None else RawLabels(pa.array(found.labels), None, str(found.root))
        parts[split] = _part(str(found.root), file_pictures(found.files, found.root), labels)
    return parts


def _open_tables(tables: Mapping[str, Rows], name: str, kind: str, settings: DataSettings) -> Source:
    train = tables["train"]
    label = label_column(train.schema, settings.label_column, train.origin)
    image = image_column(train.schema, settings.input_column, train.origin) if kind == "vision" else None
    if kind == "vision" and image is None:
        found = listed_columns([f"{field.name}: {field.type}" for field in train.schema])
        raise UserError(
            f"one column must hold encoded images (bytes, or bytes and path); {train.origin} has [{found}]; "
            "name it as input_column, or correct kind"
        )
    if image is not None:
        return Source(name, "vision", {split: _image_part(rows, image, label) for split, rows in tables.items()})
    if kind == "text":
        column = text_column(train.schema, settings.input_column, label, train.origin)
        parts = {split: _text_part(rows, column, label) for split, rows in tables.items()}
        return Source(name, "text", parts, TextSchema(column))
    columns = _table_columns(train, label, settings)
    return Source(name, "tabular", {split: _table_part(rows, columns, label) for split, rows in tables.items()})


def _image_part(rows: Rows, column: str, label: str | None) -> Part:
    _require(rows, [column])
    return _part(rows.origin, row_pictures(rows, column), _labels(rows, label))


def _text_part(rows: Rows, column: str, label: str | None) -> Part:
    _require(rows, [column])
    texts = rows.read([column])[column].to_pylist()
    return _part(rows.origin, np.array([*texts, None], dtype=object)[:-1], _labels(rows, label))


def _table_part(rows: Rows, columns: list[str], label: str | None) -> Part:
    _require(rows, columns)
    return _part(rows.origin, rows.read(columns), _labels(rows, label))


def _table_columns(train: Rows, label: str | None, settings: DataSettings) -> list[str]:
    if settings.input_column is not None:
        raise UserError(
            "input_column is for texts and images, a table is read whole; got input_column: "
            f"{settings.input_column}; leave it out, and name what is no input in drop_columns"
        )
    _require(train, settings.drop_columns)
    return [name for name in train.schema.names if name != label and name not in settings.drop_columns]


def _require(rows: Rows, columns: list[str] | tuple[str, ...]) -> None:
    for column in columns:
        if column not in rows.schema.names:
            raise missing_column(column, rows.schema.names, rows.origin)


def _labels(rows: Rows, label: str | None) -> RawLabels | None:
    if label is None or label not in rows.schema.names:
        return None
    return RawLabels(rows.read([label])[label], class_names(rows.schema, label), f"column {label!r} of {rows.origin}")


def _part(origin: str, inputs: Pictures | np.ndarray | pa.Table, labels: RawLabels | None) -> Part:
    count = inputs.count if isinstance(inputs, Pictures) else len(inputs)
    if not count:
        raise UserError(f"a data set must have at least one example, {origin} has none; give a part with rows")
    if labels is not None and len(labels.values) != count:
        raise UserError(
            f"there must be one label for each input; {origin} has {count} inputs and {len(labels.values)} labels; "
            "get the files again"
        )
    return Part(origin, inputs, None if labels is None else without_hidden(labels))
