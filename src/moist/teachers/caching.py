"""Signals cached once per view, on disk: every student, router and control reads the same rows.

A cache is a folder ``signals/KEY`` with one folder per view. Each view's manifest is written when all its shards are
there, the cache's own manifest last. The key names the teacher, the data, the augmentation and what is stored, not the
views, so that more views can be added to a cache.

Paper: Shen and Xing, "A Fast Knowledge Distillation Framework for Visual Recognition" (2022), and Wu et al., "TinyViT"
(2022), section 3.2, for logits stored per augmentation seed; deviation: float16 logits, so that a temperature can be
chosen later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moist.data import AugmentSettings, IndexedDataset
from moist.progress import Advance, progress_bar
from moist.storage import content_key, read_sealed, write_sealed
from moist.teachers.interface import Teacher
from moist.teachers.shards import Shard, find_shard, pack, write_shard
from moist.teachers.signals import SCHEMA, SignalCache, open_signal_cache, read_view, view_folder
from moist.teachers.views import check_views, raw_views
from moist.types import TeacherSignal, UserError

__all__ = ["cache_teacher"]

# The largest number that float16 holds.
LARGEST = 65504.0


def cache_teacher(
    teacher: Teacher,
    dataset: IndexedDataset,
    views: Sequence[int],
    *,
    cache_dir: Path,
    augment: AugmentSettings | None = None,
    top_k: int | None = None,
    embedding: bool = False,
    shard_rows: int = 4096,
    batch_size: int = 1024,
    quiet: bool = False,
) -> SignalCache:
    """Run the teacher once over each view of a data set and store what it says.

    What is there already is kept: a complete cache is opened without running the teacher, an interrupted run goes on at
    the first missing shard, a damaged shard is made anew.

    Args:
        teacher: whose signals.
        dataset: its rows 0 to N - 1 become the cache's rows.
        views: view seeds; 0 is the plain view, and the only one of texts and tables.
        cache_dir: folder of the caches.
        augment: what makes the views above 0.
        top_k: store only the k largest logits of each row and the mass of the rest; None for all.
        embedding: store the embedding too.
        shard_rows: rows per file.
        batch_size: rows per call of the teacher.
        quiet: show no progress.

    Raises:
        UserError: the views or ``top_k`` do not fit the data or the teacher, the teacher says NaN or has no embedding,
            or the disk is full.
    """
    views = sorted(set(views))
    _check_request(views, dataset, augment, top_k, len(teacher.classes))
    stored = top_k if top_k != len(teacher.classes) else None
    work = _Work(teacher, dataset, augment, stored, embedding, shard_rows, batch_size)
    path = Path(cache_dir) / "signals" / work.key
    shards = {view: work.shards_there(view_folder(path, view)) for view in views}
    missing = sum(stop - start for there in shards.values() for (start, stop), shard in there.items() if shard is None)
    with progress_bar(f"Signals of {teacher.name}", missing, quiet=quiet or not missing) as advance:
        for view in views:
            complete = work.complete(view_folder(path, view), view, shards[view], advance)
            values = {"view": view, "shards": [shard.to_dict() for shard in complete]}
            _write_changed(view_folder(path, view) / "manifest.json", values)
    # Views that an earlier or a concurrent run completed count too.
    found = [int(file.parent.name.removeprefix("view-")) for file in path.glob("view-*/manifest.json")]
    _write_changed(path / "manifest.json", {**work.description(), "views": sorted(found)})
    return open_signal_cache(path, views=views)


@dataclass(frozen=True)
class _Work:
    """What one cache holds, and how its missing shards are made."""

    teacher: Teacher
    dataset: IndexedDataset
    augment: AugmentSettings | None
    top_k: int | None
    embedding: bool
    shard_rows: int
    batch_size: int

    @property
    def key(self) -> str:
        """Name of the cache; what is called differently but says the same has the same one."""
        fingerprint = self.dataset.fingerprint
        return content_key(SCHEMA, self.teacher.key, fingerprint, self._varied(), self.top_k, self.embedding)

    def description(self) -> dict[str, Any]:
        """Return the cache's manifest but for the views."""
        teacher, dataset = self.teacher, self.dataset
        return {
            "schema": SCHEMA,
            "teacher": {"name": teacher.name, "key": teacher.key, "classes": list(teacher.classes)},
            "data": {"name": dataset.name, "split": dataset.split, "fingerprint": dataset.fingerprint},
            "augment": self._varied(),
            "top_k": self.top_k,
            "embedding": self.embedding,
            "num_rows": len(dataset),
            "num_classes": len(teacher.classes),
        }

    def shards_there(self, folder: Path) -> dict[tuple[int, int], Shard | None]:
        """Return the shards of a view, None for those to be made: cut as its manifest has them, else as set now."""
        size, rows = self.shard_rows, len(self.dataset)
        ranges = [(start, min(start + size, rows)) for start in range(0, rows, size)]
        if _known(folder / "manifest.json") is not None:
            ranges = [(shard.start, shard.stop) for shard in read_view(folder)]
        parts = ["logits"] + ["classes"] * (self.top_k is not None) + ["embedding"] * self.embedding
        return {(start, stop): find_shard(folder, start, stop, parts) for start, stop in ranges}

    def complete(
        self, folder: Path, view: int, shards: dict[tuple[int, int], Shard | None], advance: Advance
    ) -> list[Shard]:
        """Make the shards that are None, in order, and return all."""
        done = []
        for (start, stop), shard in shards.items():
            if shard is None:
                pieces = list(self._pieces(start, stop, view, advance))
                parts = {part: np.concatenate([piece[part] for piece in pieces]) for part in pieces[0]}
                shard = write_shard(folder, start, stop, parts)
            done.append(shard)
        return done

    def _varied(self) -> dict[str, Any] | None:
        active = self.augment is not None and self.augment.active
        return self.augment.model_dump(mode="json") if self.augment is not None and active else None

    def _pieces(self, start: int, stop: int, view: int, advance: Advance) -> Iterator[dict[str, np.ndarray]]:
        for first in range(start, stop, self.batch_size):
            index = np.arange(first, min(first + self.batch_size, stop))
            signal = self.teacher.signal(raw_views(self.dataset, index, np.full_like(index, view), self.augment))
            if self.embedding and signal.embedding is None:
                raise UserError(
                    f"teacher {self.teacher.name!r} has no embedding to store; store its logits alone, or choose "
                    "another teacher"
                )
            self._check_numbers(signal, first, view)
            yield pack(signal, self.top_k, self.embedding)
            advance(len(index))

    def _check_numbers(self, signal: TeacherSignal, first: int, view: int) -> None:
        kept = {"logits": signal.logits, "embedding": signal.embedding if self.embedding else None}
        for part, values in kept.items():
            # NaN, too, is not below the limit.
            if values is None:
                continue
            bad = np.flatnonzero(~(values.abs() <= LARGEST).all(dim=1).numpy())
            if len(bad):
                raise UserError(
                    f"a teacher's signals must be numbers between -{LARGEST:.0f} and {LARGEST:.0f}; teacher "
                    f"{self.teacher.name!r} gave NaN, infinite or larger values in the {part} of row {first + bad[0]}, "
                    f"view {view}; check that row, and the teacher's weights, normalisation and precision"
                )


def _check_request(
    views: list[int], dataset: IndexedDataset, augment: AugmentSettings | None, top_k: int | None, num_classes: int
) -> None:
    if not views or not len(dataset):
        raise UserError(
            f"a signal cache needs a view and a row, got {len(views)} views of {len(dataset)} rows; give some"
        )
    check_views(np.array(views), dataset, augment)
    if top_k is not None and not 1 <= top_k <= num_classes:
        raise UserError(
            f"top_k must be between 1 and the number of classes, {num_classes}, got {top_k}; lower it, or leave it out "
            "to store all logits"
        )


def _write_changed(path: Path, value: dict[str, Any]) -> None:
    if not path.is_file() or _known(path) != value:
        write_sealed(path, value)


def _known(path: Path) -> dict[str, Any] | None:
    """Return what a manifest says; None where it is damaged or has no seal yet, so that it is written anew."""
    try:
        return read_sealed(path, required=True)
    except UserError:
        return None
