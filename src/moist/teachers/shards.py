"""Shards of a signal cache: a run of rows of one view, one array file per part, named by its own checksum.

A shard is found again by its name alone, so an interrupted run goes on at the first shard that is not there, and two
processes that write the same shard do not disturb each other.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp

from moist.storage import file_sha256, write_atomic
from moist.types import TeacherSignal, UserError

__all__ = ["Shard", "ShardFile", "check_shard", "find_shard", "pack", "unpack_logits", "write_shard"]


@dataclass(frozen=True)
class ShardFile:
    """One file of a shard: name within the view's folder, SHA-256, and size in bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Shard:
    """Rows ``start`` to ``stop`` (excluded) of one view, and the file of each part."""

    start: int
    stop: int
    files: dict[str, ShardFile]

    def to_dict(self) -> dict[str, Any]:
        """Return the shard as JSON-like values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Shard:
        """Return the shard that ``to_dict`` wrote."""
        files = {part: ShardFile(**file) for part, file in values["files"].items()}
        return cls(values["start"], values["stop"], files)


def pack(signal: TeacherSignal, top_k: int | None, embedding: bool) -> dict[str, np.ndarray]:
    """Return the arrays that are stored of a signal of R rows.

    Returns:
        ``logits``: (R, C) float16; or, with ``top_k``, (R, k + 1), the largest k and the log of the exponentials' sum
        over the others, with ``classes``: (R, k) unsigned. ``embedding``: (R, D) float16. Logits are less the largest
        of their row, which changes no probability: float16 is finest near zero, so the leading classes are not rounded
        into one.
    """
    logits = signal.logits.numpy()
    logits = logits - logits.max(axis=1, keepdims=True)
    parts: dict[str, np.ndarray] = {}
    if top_k is None:
        parts["logits"] = logits
    else:
        order = np.argsort(-logits, axis=1, kind="stable")
        ranked = np.take_along_axis(logits, order, axis=1)
        parts["logits"] = np.concatenate(
            [ranked[:, :top_k], logsumexp(ranked[:, top_k:], axis=1, keepdims=True)], axis=1
        )
        parts["classes"] = order[:, :top_k].astype(np.uint16 if logits.shape[1] <= 1 << 16 else np.uint32)
    if embedding and signal.embedding is not None:
        parts["embedding"] = signal.embedding.numpy()
    return {name: array if name == "classes" else array.astype(np.float16) for name, array in parts.items()}


def unpack_logits(stored: np.ndarray, classes: np.ndarray | None, num_classes: int) -> np.ndarray:
    """Return logits (R, C) float32 from what :func:`pack` made; the rest's mass is spread evenly over its classes."""
    values = stored.astype(np.float32)
    if classes is None:
        return values
    top_k = classes.shape[1]
    even = values[:, top_k:] - np.float32(np.log(num_classes - top_k))
    logits = np.repeat(even, num_classes, axis=1)
    np.put_along_axis(logits, classes.astype(np.int64), values[:, :top_k], axis=1)
    return logits


def write_shard(folder: Path, start: int, stop: int, parts: dict[str, np.ndarray]) -> Shard:
    """Write the arrays of rows ``start`` to ``stop``, each file whole or not at all.

    Raises:
        UserError: the disk is full.
    """
    files = {}
    for part, array in parts.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        content = buffer.getvalue()
        checksum = hashlib.sha256(content).hexdigest()
        name = f"{_stem(start, stop, part)}-{checksum[:16]}.npy"
        _write(folder / name, content)
        files[part] = ShardFile(name, checksum, len(content))
    return Shard(start, stop, files)


def find_shard(folder: Path, start: int, stop: int, parts: list[str]) -> Shard | None:
    """Return the shard of rows ``start`` to ``stop`` if all its parts are there and undamaged."""
    files = {}
    for part in parts:
        for path in sorted(folder.glob(f"{_stem(start, stop, part)}-*.npy")):
            checksum = file_sha256(path)
            if path.stem.endswith(checksum[:16]):
                files[part] = ShardFile(path.name, checksum, path.stat().st_size)
                break
        else:
            return None
    return Shard(start, stop, files)


def check_shard(folder: Path, shard: Shard, checksums: bool) -> None:
    """Check that a shard's files are there in full, and with ``checksums`` that not a bit of them has changed.

    Raises:
        UserError: a file is missing or damaged.
    """
    for file in shard.files.values():
        path = folder / file.name
        whole = path.is_file() and path.stat().st_size == file.size
        if not whole or (checksums and file_sha256(path) != file.sha256):
            state = "damaged (its checksum differs)" if whole else "missing or cut short"
            raise UserError(
                f"every shard of a signal cache must be as it was written; {path} is {state}; run the command that "
                "made the cache again, it makes this shard anew and keeps the others"
            )


def _write(path: Path, content: bytes) -> None:
    write_atomic(path, lambda partial: partial.write_bytes(content))


def _stem(start: int, stop: int, part: str) -> str:
    return f"{start:09d}-{stop:09d}-{part}"
