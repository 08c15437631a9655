"""Folders that are whole or absent, each described by a sealed manifest that knows every byte of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from moist.errors import UserError
from moist.storage import file_sha256, is_disk_full

__all__ = ["SAFE_NAME", "FileFacts", "SealedFolder", "record_files"]

UNSEALED = "0" * 64
# Plain names below the folder: no '..', no absolute path, no drive, nothing hidden.
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


class FileFacts(Protocol):
    """What a file must be."""

    @property
    def sha256(self) -> str:
        """Its SHA-256, hex digits."""

    @property
    def bytes(self) -> int:
        """Its size."""


@dataclass(frozen=True)
class SealedFolder:
    """One kind of folder, and how it is written, found and checked.

    Args:
        title: what to call it in an error, with its article: ``a bundle``.
        manifest: name of the file that describes it, written last.
        schema: version of the manifest.
        remedy: what to do about a damaged one.
    """

    title: str
    manifest: str
    schema: int
    remedy: str

    def write_manifest(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Write the manifest with its own SHA-256 as last entry, computed with zeros in that place."""
        text = json.dumps({**manifest, "sha256": UNSEALED}, indent=2, allow_nan=False) + "\n"
        (folder / self.manifest).write_text(_with_seal(text, UNSEALED, _digest(text)), encoding="ascii")

    def read_manifest(self, folder: Path, *, verify: bool = True) -> dict[str, Any]:
        """Return the content of the manifest.

        Args:
            folder: where it is.
            verify: whether its own checksum must be right.

        Raises:
            UserError: there is none, or its manifest is damaged or of another version.
        """
        text, path = self._read_text(folder), folder / self.manifest
        try:
            manifest = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} must be JSON, it is damaged ({error}); {self.remedy}") from None
        if not isinstance(manifest, dict):
            raise UserError(f"{path} must hold an object, got {type(manifest).__name__}; {self.remedy}")
        if manifest.get("schema") != self.schema:
            raise UserError(
                f"{path} must have schema version {self.schema}, got {manifest.get('schema')!r}, written "
                f"by moist {manifest.get('moist', 'unknown')}; use that version of moist, or make it again"
            )
        seal = manifest.get("sha256")
        if verify and (not isinstance(seal, str) or len(seal) != len(UNSEALED) or not _is_sealed(text, seal)):
            raise UserError(
                f"{path} must have the checksum that it names; it was damaged or edited after it was "
                f"written; {self.remedy}"
            )
        return manifest

    def check_file(self, folder: Path, name: str, record: FileFacts, *, content: bool) -> None:
        """Check that a file is there and has its size, and with ``content`` its checksum.

        Raises:
            UserError: it is missing, cut short, or changed.
        """
        path = folder / name
        if not path.is_file():
            raise UserError(f"every file of {self.title} must be there, {path} is missing; {self.remedy}")
        size = path.stat().st_size
        if size != record.bytes:
            raise UserError(
                f"{path} must have {record.bytes} bytes, got {size}: it was cut short or changed; {self.remedy}"
            )
        if content and file_sha256(path) != record.sha256:
            raise UserError(
                f"{path} must have the checksum in {self.manifest}: it was damaged or changed; {self.remedy}"
            )

    @contextmanager
    def new_folder(self, path: Path) -> Iterator[Path]:
        """Yield a temporary neighbour of ``path`` that takes its place, synced to disk, once the block has ended.

        An older folder of the kind at ``path`` is put aside, and deleted only when the new one is in place.

        Raises:
            UserError: something else is at ``path``, or the disk is full; nothing is changed then.
        """
        path = path.absolute()
        partial, aside = path.with_name(f".{path.name}.partial"), _aside(path)
        self._check_replaceable(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            yield partial
            _sync(partial)
            _swap(partial, path, aside)
        except Exception as error:
            if is_disk_full(error):
                raise UserError(
                    f"no space left on the disk while writing {path}; free some space and run the same command again"
                ) from error
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _check_replaceable(self, path: Path) -> None:
        if not path.exists() or (path.is_dir() and ((path / self.manifest).exists() or not any(path.iterdir()))):
            return
        raise UserError(
            f"{self.title} replaces only another {self.title.split()[-1]} or an empty folder, {path} is neither; "
            "choose another folder, or delete it yourself"
        )

    def _read_text(self, folder: Path) -> str:
        try:
            return (folder / self.manifest).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{folder / self.manifest} must be text, it is damaged ({error}); {self.remedy}") from None
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(self._absent(folder)) from None

    def _absent(self, folder: Path) -> str:
        rule = f"{self.title} is a folder with a {self.manifest}"
        if (folder / "bundle" / self.manifest).is_file():
            return f"{rule}, got the folder of a run; give {folder / 'bundle'}"
        if not folder.exists():
            aside = _aside(folder.absolute())
            hint = f"saving a new one was interrupted, the old one is {aside}: rename it" if aside.exists() else ""
            return f"{rule}, there is nothing at {folder}; {hint or 'check the path'}"
        if not folder.is_dir():
            return f"{rule}, got the file {folder}; give the folder"
        return f"{rule}, {folder} has none; check the path, or {self.remedy}"


def record_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file in ``folder``, by its path relative to it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in files
    }


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def _swap(partial: Path, path: Path, aside: Path) -> None:
    """Put ``partial`` at ``path``; a folder cannot be renamed onto another, so the old one steps aside first."""
    shutil.rmtree(aside, ignore_errors=True)
    replacing = path.exists()
    if replacing:
        path.rename(aside)
    try:
        partial.rename(path)
    except OSError:
        if replacing:
            aside.rename(path)
        raise
    _sync_one(path.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync_one(path)


def _sync_one(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _with_seal(text: str, old: str, new: str) -> str:
    head, _, tail = text.rpartition(old)
    return head + new + tail


def _is_sealed(text: str, seal: str) -> bool:
    return _digest(_with_seal(text, seal, UNSEALED)) == seal
