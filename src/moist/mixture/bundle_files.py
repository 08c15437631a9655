"""The files of a bundle: a folder that is whole or absent, and a manifest that knows every byte of it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from moist.mixture.build import MixtureSettings
from moist.mixture.model import InferenceSettings
from moist.storage import file_sha256
from moist.students import StudentSettings
from moist.types import UserError

__all__ = [
    "MANIFEST",
    "SCHEMA",
    "DomainRecord",
    "FileRecord",
    "Manifest",
    "WeightFiles",
    "check_file",
    "new_folder",
    "parse_manifest",
    "read_manifest",
    "record_files",
    "write_manifest",
]

MANIFEST = "bundle.json"
SCHEMA = 1
UNSEALED = "0" * 64
REMEDY = "copy the whole folder again from where it came, or make the bundle again"
# Plain names below the folder: no '..', no absolute path, no drive, nothing hidden.
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


class _Record(BaseModel):
    # Keys that a later version adds beside these are left alone.
    model_config = ConfigDict(frozen=True, extra="ignore")


class FileRecord(_Record):
    """What a file must be."""

    sha256: str
    bytes: int


class WeightFiles(_Record):
    """Where the shared weights are; no trunk or no generalist is None."""

    trunk: str | None
    router: str
    generalist: str | None


class DomainRecord(_Record):
    """Where a specialist's weights are."""

    file: str


class Manifest(_Record):
    """The part of ``bundle.json`` that a mixture is rebuilt from."""

    classes: tuple[str, ...] = Field(min_length=2)
    input: dict[str, Any]
    transform: dict[str, Any]
    student: StudentSettings
    mixture: MixtureSettings
    inference: InferenceSettings
    threshold: float
    weights: WeightFiles
    domains: tuple[DomainRecord, ...]
    files: dict[str, FileRecord]

    @model_validator(mode="after")
    def _check_files(self) -> Manifest:
        shared = [self.weights.trunk, self.weights.router, self.weights.generalist]
        named = [name for name in shared if name is not None] + [domain.file for domain in self.domains]
        for name in [*self.files, *named]:
            if not SAFE_NAME.fullmatch(name):
                raise ValueError(f"a file must be named by a plain path inside the bundle, got {name!r}; do not use it")
        absent = [name for name in named if name not in self.files]
        if absent:
            raise ValueError(f"every file of weights must have a checksum, {', '.join(absent)} has none")
        if len(self.domains) != self.mixture.num_domains:
            raise ValueError(
                f"domains must list num_domains={self.mixture.num_domains} specialists, got {len(self.domains)}"
            )
        return self


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``bundle.json`` with its own SHA-256 as last entry, computed with zeros in that place."""
    text = json.dumps({**manifest, "sha256": UNSEALED}, indent=2, allow_nan=False) + "\n"
    (folder / MANIFEST).write_text(_with_seal(text, UNSEALED, _digest(text)), encoding="ascii")


def read_manifest(folder: Path, *, verify: bool = True) -> dict[str, Any]:
    """Return the content of ``bundle.json``.

    Args:
        folder: the bundle.
        verify: whether its own checksum must be right.

    Raises:
        UserError: there is no bundle, or ``bundle.json`` is damaged or of another version.
    """
    text = _read_text(folder)
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{folder / MANIFEST} must be JSON, it is damaged ({error}); {REMEDY}") from None
    if not isinstance(manifest, dict):
        raise UserError(f"{folder / MANIFEST} must hold an object, got {type(manifest).__name__}; {REMEDY}")
    if manifest.get("schema") != SCHEMA:
        raise UserError(
            f"{folder / MANIFEST} must have schema version {SCHEMA}, got {manifest.get('schema')!r}, written by moist "
            f"{manifest.get('moist', 'unknown')}; use that version of moist, or make the bundle again"
        )
    seal = manifest.get("sha256")
    if verify and (not isinstance(seal, str) or len(seal) != len(UNSEALED) or not _is_sealed(text, seal)):
        raise UserError(
            f"{folder / MANIFEST} must have the checksum that it names; it was damaged or edited after it was written; "
            f"{REMEDY}"
        )
    return manifest


def parse_manifest(manifest: Mapping[str, Any], folder: Path) -> Manifest:
    """Return the typed part of ``bundle.json``.

    Raises:
        UserError: something is missing or breaks a rule; a file name that leads out of the folder does.
    """
    try:
        return Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"{folder / MANIFEST} does not describe a bundle: {place + ': ' if place else ''}{problem}; {REMEDY}"
        ) from None


def record_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file in ``folder``, by its path relative to it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in files
    }


def check_file(folder: Path, name: str, record: FileRecord, *, content: bool) -> None:
    """Check that a file is there and has its size, and with ``content`` its checksum.

    Raises:
        UserError: it is missing, cut short, or changed.
    """
    path = folder / name
    if not path.is_file():
        raise UserError(f"every file of a bundle must be there, {path} is missing; {REMEDY}")
    size = path.stat().st_size
    if size != record.bytes:
        raise UserError(f"{path} must have {record.bytes} bytes, got {size}: it was cut short or changed; {REMEDY}")
    if content and file_sha256(path) != record.sha256:
        raise UserError(f"{path} must have the checksum in {MANIFEST}: it was damaged or changed; {REMEDY}")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary neighbour of ``path`` that takes its place, synced to disk, once the block has ended.

    An older bundle at ``path`` is put aside, and deleted only when the new one is in place.

    Raises:
        UserError: something else than a bundle is at ``path``, or the disk is full; nothing is changed then.
    """
    path = path.absolute()
    partial, aside = path.with_name(f".{path.name}.partial"), _aside(path)
    _check_replaceable(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        yield partial
        _sync(partial)
        _swap(partial, path, aside)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"no space left on the disk while writing {path}; free some space and run the same command again"
            ) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def _check_replaceable(path: Path) -> None:
    if not path.exists() or (path.is_dir() and ((path / MANIFEST).exists() or not any(path.iterdir()))):
        return
    raise UserError(
        f"a bundle replaces only another bundle or an empty folder, {path} is neither; choose another folder, or "
        "delete it yourself"
    )


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


def _read_text(folder: Path) -> str:
    try:
        return (folder / MANIFEST).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{folder / MANIFEST} must be text, it is damaged ({error}); {REMEDY}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(_no_bundle(folder)) from None


def _no_bundle(folder: Path) -> str:
    if (folder / "bundle" / MANIFEST).is_file():
        return f"a bundle is a folder with a {MANIFEST}, got the folder of a run; give {folder / 'bundle'}"
    if not folder.exists():
        aside = _aside(folder.absolute())
        hint = f"saving a new one was interrupted, the old one is {aside}: rename it" if aside.exists() else ""
        return f"a bundle is a folder with a {MANIFEST}, there is nothing at {folder}; {hint or 'check the path'}"
    if not folder.is_dir():
        return f"a bundle is a folder with a {MANIFEST}, got the file {folder}; give the folder"
    return f"a bundle is a folder with a {MANIFEST}, {folder} has none; check the path, or {REMEDY}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _with_seal(text: str, old: str, new: str) -> str:
    head, _, tail = text.rpartition(old)
    return head + new + tail


def _is_sealed(text: str, seal: str) -> bool:
    return _digest(_with_seal(text, seal, UNSEALED)) == seal
