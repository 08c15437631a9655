"""Loading a data set: decode, number the labels, cut the splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from moist.data.dataset import DataSplits, IndexedDataset
from moist.data.image_cache import DecodeRule, decode_pictures
from moist.data.labels import LabelSpace, RawLabels, fit_labels
from moist.data.pictures import Pictures
from moist.data.schema import ImageSchema, Schema, TableSchema, fit_table_schema
from moist.data.settings import DataSettings
from moist.data.sources import Part, Source, open_source
from moist.data.split import cut
from moist.progress import say
from moist.types import UserError

__all__ = ["load_dataset", "load_parts"]

ROWS_SHOWN = 10


@dataclass(frozen=True)
class _Rows:
    """Rows of one part of the source: what each of the final splits is made of."""

    origin: str
    inputs: np.ndarray | pa.Table
    target: np.ndarray | None

    def take(self, rows: np.ndarray) -> _Rows:
        inputs = self.inputs.take(pa.array(rows)) if isinstance(self.inputs, pa.Table) else self.inputs[rows]
        return _Rows(self.origin, inputs, None if self.target is None else self.target[rows])


def load_dataset(settings: DataSettings, cache_dir: Path, quiet: bool = False) -> DataSplits:
    """Read a data set and return its splits.

    Validation rows are cut from the training part by ``split_seed``, stratified by class, unless the source has a
    validation part; the test part likewise. Pictures are decoded once, into ``cache_dir``.

    Args:
        settings: what to read and how.
        cache_dir: folder of the caches.
        quiet: show no progress.

    Raises:
        UserError: the source is missing or damaged, lacks a column, holds one class only, and so on.
    """
    with _told_if_damaged(settings):
        source, space, parts = _read_parts(settings, cache_dir, quiet)
        _cut_parts(parts, settings)
        _check_classes(parts["train"], space)
        splits = _datasets(source, space, parts)
        return DataSplits(_limited(splits["train"], settings), splits["validation"], splits.get("test"))


def load_parts(settings: DataSettings, cache_dir: Path, quiet: bool = False) -> dict[str, IndexedDataset]:
    """Read the parts that a source has, whole: nothing is cut off or left out, and one class will do.

    Args:
        settings: what to read and how; ``validation``, ``test`` and ``limit`` mean nothing here.
        cache_dir: folder of the caches.
        quiet: show no progress.

    Returns:
        ``train``, which is everything where the source has no parts, and ``validation`` and ``test`` where it has them.

    Raises:
        UserError: the source is missing or damaged, or lacks a column.
    """
    with _told_if_damaged(settings):
        return _datasets(*_read_parts(settings, cache_dir, quiet))


@contextmanager
def _told_if_damaged(settings: DataSettings) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, pa.ArrowException) as error:
        raise UserError(
            f"data must be readable, those of {settings.path or settings.name} are damaged ({error}); get them again, "
            "or save them as UTF-8"
        ) from None


def _read_parts(
    settings: DataSettings, cache_dir: Path, quiet: bool
) -> tuple[Source, LabelSpace | None, dict[str, _Rows]]:
    source = open_source(settings)
    space = _label_space(source, settings, quiet)
    parts: dict[str, _Rows] = {}
    like: ImageSchema | None = None
    for split in ("train", "validation", "test"):
        if split in source.parts:
            parts[split] = _read(source, split, space, settings, like, cache_dir, quiet)
            if like is None and source.kind == "vision":
                like = ImageSchema(*parts[split].inputs.shape[1:])
    return source, space, parts


def _datasets(source: Source, space: LabelSpace | None, parts: Mapping[str, _Rows]) -> dict[str, IndexedDataset]:
    schema = _schema(source, parts["train"])
    return {split: _dataset(source, split, rows, space, schema) for split, rows in parts.items()}


def _label_space(source: Source, settings: DataSettings, quiet: bool) -> LabelSpace | None:
    labels = source.parts["train"].labels
    if labels is not None:
        return fit_labels(labels, settings.classes)
    if not quiet:
        say(f"{source.name}: no labels found; it can be used as a transfer set (name a label_column if there is one)")
    return LabelSpace(tuple(settings.classes)) if settings.classes else None


def _read(
    source: Source,
    split: str,
    space: LabelSpace | None,
    settings: DataSettings,
    like: ImageSchema | None,
    cache_dir: Path,
    quiet: bool,
) -> _Rows:
    part = source.parts[split]
    target = _target(part, space)
    if isinstance(part.inputs, Pictures):
        rule = DecodeRule(settings.size, settings.on_error, like)
        decoded = decode_pictures(part.inputs, rule, cache_dir, f"{source.name} {split}", quiet)
        kept = np.delete(np.arange(part.inputs.count), decoded.skipped)
        return _Rows(part.origin, decoded.images, target if target is None else target[kept])
    rows = _Rows(part.origin, part.inputs, target)
    return rows if source.kind == "tabular" else _present_texts(rows, settings)


def _target(part: Part, space: LabelSpace | None) -> np.ndarray | None:
    labels: RawLabels | None = part.labels
    return None if labels is None or space is None else space.number(labels)


def _present_texts(rows: _Rows, settings: DataSettings) -> _Rows:
    missing = np.flatnonzero([text is None for text in rows.inputs])
    if not len(missing):
        return rows
    shown = ", ".join(str(row + 1) for row in missing[:ROWS_SHOWN])
    if settings.on_error == "raise":
        raise UserError(
            f"every example needs a text; {len(missing)} rows of {rows.origin} have none (rows {shown}); "
            "fill them, or leave them out with data.on_error: skip"
        )
    say(f"warning: {len(missing)} rows without a text are left out of {rows.origin}: rows {shown}")
    return rows.take(np.delete(np.arange(len(rows.inputs)), missing))


def _cut_parts(parts: dict[str, _Rows], settings: DataSettings) -> None:
    """Cut the test part, then the validation part, from the training part where the source has none."""
    for split, fraction in (("test", settings.test), ("validation", settings.validation)):
        if split in parts or not fraction:
            continue
        train = parts["train"]
        stay, go = cut(len(train.inputs), train.target, fraction, settings.split_seed)
        parts["train"], parts[split] = train.take(stay), train.take(go)


def _check_classes(train: _Rows, space: LabelSpace | None) -> None:
    if train.target is None or space is None:
        return
    present = np.unique(train.target)
    if len(present) < 2:
        raise UserError(
            f"training data must have at least two classes, {train.origin} has only "
            f"{space.classes[int(present[0])]!r}; check label_column, or add examples of other classes"
        )


def _schema(source: Source, train: _Rows) -> Schema:
    if source.kind == "vision":
        return ImageSchema(*train.inputs.shape[1:])
    return source.text or fit_table_schema(train.inputs, train.origin)


def _dataset(source: Source, split: str, rows: _Rows, space: LabelSpace | None, schema: Schema) -> IndexedDataset:
    inputs = rows.inputs
    if isinstance(schema, TableSchema):
        inputs = schema.encode_frame(inputs, rows.origin)
    classes = () if space is None else space.classes
    return IndexedDataset(source.name, split, source.kind, inputs, rows.target, classes, schema)


def _limited(train: IndexedDataset, settings: DataSettings) -> IndexedDataset:
    """Keep ``limit`` rows of the training part, every class in its share."""
    if settings.limit is None or settings.limit >= len(train):
        return train
    _, rows = cut(len(train), train.target, settings.limit / len(train), settings.split_seed)
    limited = train.take(rows)
    if limited.target is not None and len(np.unique(limited.target)) < 2:
        raise UserError(f"training data must have at least two classes, limit: {settings.limit} leaves one; raise it")
    return limited
