"""A cache of signals on disk: a folder with one folder per view, each with a manifest that is written last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moist.storage import read_sealed
from moist.teachers.shards import Shard, check_shard, unpack_logits
from moist.types import UserError

__all__ = ["SCHEMA", "SignalCache", "inspect_signal_cache", "open_signal_cache", "read_view", "view_folder"]

SCHEMA = 1
# A part (the logits, say) up to this size is read into memory at first use: random reads are then one gather.
MAX_BYTES_IN_MEMORY = 1 << 30


class SignalCache:
    """A complete cache of a teacher's signals, read by (row, view).

    Args:
        path: the cache's folder.
        manifest: its manifest.
        shards: the shards of each view, in order of rows.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], shards: dict[int, list[Shard]]) -> None:
        self.path = path
        self.manifest = manifest
        self.views = tuple(sorted(shards))
        self.num_rows = int(manifest["num_rows"])
        self.classes: tuple[str, ...] = tuple(manifest["teacher"]["classes"])
        self.num_classes = int(manifest["num_classes"])
        self.has_embedding = bool(manifest["embedding"])
        self._shards = shards
        self._arrays: dict[str, _Part] = {}

    def logits(self, index: np.ndarray, view: np.ndarray) -> np.ndarray:
        """Return logits (N, C) float32 of rows ``index`` (N,) under ``view`` seeds (N,).

        Raises:
            UserError: a view or a row is not in the cache.
        """
        place = self._place(view)
        self._check_rows(index)
        classes = self._part("classes").read(place, index) if self.manifest["top_k"] else None
        return unpack_logits(self._part("logits").read(place, index), classes, self.num_classes)

    def embedding(self, index: np.ndarray, view: np.ndarray) -> np.ndarray | None:
        """Return embeddings (N, D) float32, or None where the cache holds none; arguments as for :meth:`logits`."""
        if not self.has_embedding:
            return None
        place = self._place(view)
        self._check_rows(index)
        return self._part("embedding").read(place, index).astype(np.float32)

    def __reduce__(self) -> tuple[Any, ...]:
        # To another process goes the path, not the rows.
        return _reopen, (self.path, self.views)

    def _place(self, view: np.ndarray) -> np.ndarray:
        views = np.array(self.views)
        place = np.minimum(np.searchsorted(views, view), len(views) - 1)
        if (views[place] != view).any():
            missing = int(np.asarray(view)[views[place] != view][0])
            raise UserError(
                f"a view must be in the signal cache before it is read, got view {missing}; {self.path} holds "
                f"{list(self.views)}; cache the teacher for that view too"
            )
        return place

    def _check_rows(self, index: np.ndarray) -> None:
        if len(index) and (index.min() < 0 or index.max() >= self.num_rows):
            raise UserError(
                f"rows must be 0 to {self.num_rows - 1} in the signal cache {self.path}, got {int(index.min())} to "
                f"{int(index.max())}; cache the teacher for this data set"
            )

    def _part(self, part: str) -> _Part:
        if part not in self._arrays:
            folders = {view: view_folder(self.path, view) for view in self.views}
            self._arrays[part] = _Part(part, folders, self._shards)
        return self._arrays[part]


class _Part:
    """The rows of one part (logits, say) of all views: in memory where they are few, else memory-mapped."""

    def __init__(self, part: str, folders: dict[int, Path], shards: dict[int, list[Shard]]) -> None:
        self._maps = [
            [np.load(folders[view] / shard.files[part].name, mmap_mode="r") for shard in shards[view]]
            for view in sorted(shards)
        ]
        self._stops = [np.array([shard.stop for shard in shards[view]]) for view in sorted(shards)]
        self._rows: np.ndarray | None = None
        if sum(array.nbytes for arrays in self._maps for array in arrays) <= MAX_BYTES_IN_MEMORY:
            self._rows = np.stack([np.concatenate(arrays) for arrays in self._maps])
            self._maps = []

    def read(self, place: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Return the rows (N, W) at ``index`` (N,) of the views at ``place`` (N,)."""
        if self._rows is not None:
            return np.asarray(self._rows[place, index])
        first = self._maps[0][0]
        rows = np.empty((len(index), first.shape[1]), dtype=first.dtype)
        for number in np.unique(place):
            self._read_view(int(number), np.flatnonzero(place == number), index, rows)
        return rows

    def _read_view(self, number: int, wanted: np.ndarray, index: np.ndarray, rows: np.ndarray) -> None:
        stops, arrays = self._stops[number], self._maps[number]
        holders = np.searchsorted(stops, index[wanted], side="right")
        for holder in np.unique(holders):
            here = wanted[holders == holder]
            start = stops[holder - 1] if holder else 0
            rows[here] = arrays[holder][index[here] - start]


def open_signal_cache(path: Path, *, views: Sequence[int] | None = None, verify: bool = False) -> SignalCache:
    """Open a complete cache.

    Args:
        path: the cache's folder.
        views: which of its views; all where left out.
        verify: read every file and compare its checksum.

    Raises:
        UserError: the cache is incomplete, or a shard is missing or damaged.
    """
    manifest = read_sealed(Path(path) / "manifest.json", required=verify)
    if manifest.get("schema") != SCHEMA:
        raise UserError(
            f"a signal cache must be of schema {SCHEMA}, {path} is of {manifest.get('schema')!r}; make it again "
            "with this version of moist"
        )
    shards = {}
    for view in views or manifest["views"]:
        folder = view_folder(Path(path), view)
        shards[view] = read_view(folder, verify)
        for shard in shards[view]:
            check_shard(folder, shard, verify)
    return SignalCache(Path(path), manifest, shards)


def inspect_signal_cache(path: Path, *, verify: bool = False) -> dict[str, Any]:
    """Return what a cache holds: its manifest, with ``path``, ``bytes``, ``files`` and ``verified``.

    Args:
        path: the cache's folder.
        verify: compare every file with its checksum, the manifests' own too.

    Raises:
        UserError: as :func:`open_signal_cache`.
    """
    cache = open_signal_cache(Path(path), verify=verify)
    files = [
        (f"{view_folder(Path(), view).name}/{file.name}", file)
        for view in cache.views
        for shard in read_view(view_folder(cache.path, view))
        for file in shard.files.values()
    ]
    return {
        **cache.manifest,
        "path": str(Path(path).resolve()),
        "bytes": sum(file.size for _, file in files),
        "files": {name: {"sha256": file.sha256, "bytes": file.size} for name, file in files},
        "verified": verify,
    }


def _reopen(path: Path, views: tuple[int, ...]) -> SignalCache:
    return open_signal_cache(path, views=views)


def read_view(folder: Path, sealed: bool = False) -> list[Shard]:
    """Return the shards that the manifest of a view's folder lists, in order of rows.

    Raises:
        UserError: the manifest is missing or damaged; or, with ``sealed``, has no checksum.
    """
    manifest = read_sealed(folder / "manifest.json", required=sealed)
    try:
        return [Shard.from_dict(values) for values in manifest["shards"]]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"the manifest in {folder} is damaged ({error!r}); delete {folder} and run the command that "
            "made the cache again"
        ) from None


def view_folder(path: Path, view: int) -> Path:
    """Return the folder of a view in the cache at ``path``."""
    return path / f"view-{view}"
