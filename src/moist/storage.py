"""Files that are whole or absent: atomic writes, checksums, and manifests that are written last."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from moist.errors import UserError

if sys.platform != "win32":
    import fcntl

__all__ = [
    "content_key",
    "default_cache_dir",
    "file_sha256",
    "is_disk_full",
    "only_one",
    "read_json",
    "read_sealed",
    "write_atomic",
    "write_json",
    "write_sealed",
]


def default_cache_dir() -> Path:
    """Return the folder for decoded data and teacher signals: ``$MOIST_CACHE``, else ``~/.cache/moist``."""
    return Path(os.environ.get("MOIST_CACHE") or Path.home() / ".cache" / "moist")


def content_key(*parts: Any) -> str:
    """Return a short name (16 hex digits) for JSON-like ``parts``: equal content has an equal key."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process alone, so that two runs never write the same checkpoints.

    The lock goes with the process, however it ends. A folder that was made for it goes too, where an error left nothing
    in it.

    Raises:
        UserError: another process holds the folder.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        try:
            yield
        except BaseException:
            # Still under the lock: a folder that another process holds is not ours to remove.
            if new:
                _remove_if_unused(folder)
            raise


def _remove_if_unused(folder: Path) -> None:
    with suppress(OSError):
        if all(path.name == ".lock" for path in folder.iterdir()):
            (folder / ".lock").unlink(missing_ok=True)
            folder.rmdir()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    if sys.platform == "win32":  # it has no such lock
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"only one process may work in {folder} at a time, and another one does; wait for it, stop it, or "
                "choose another --out"
            ) from None
        yield


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that it is either whole or absent: temporary neighbour, fsync, rename.

    Args:
        path: where the file shall be; its folder is made.
        write: called with the temporary path, which it fills.

    Raises:
        UserError: the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if is_disk_full(error):
            raise UserError(
                f"no space left on the disk while writing {path}; free some space and run the same command again, "
                "it continues where it stopped"
            ) from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error means that no space is left, in the system's words or those of a library around it."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return os.strerror(errno.ENOSPC) in str(error) or "os error 28" in str(error)


def write_json(path: Path, value: Mapping[str, Any] | list[Any]) -> None:
    """Write ``value`` as indented JSON, atomically."""
    text = _as_text(value)
    write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _as_text(value: Mapping[str, Any] | list[Any]) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as :func:`write_json` does, with the SHA-256 of its own text as last entry."""
    write_json(path, _sealed(value))


def read_sealed(path: Path, *, required: bool = False) -> dict[str, Any]:
    """Return what :func:`write_sealed` wrote, without the seal.

    Args:
        path: the file.
        required: whether a file without a seal, as older versions wrote it, is an error too.

    Raises:
        UserError: the file is missing or damaged.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold an object, got {type(value).__name__}; delete it and run the command again")
    found = value.pop("sha256", None)
    if found is None and not required:
        return value
    # The text and not the values: so not even a bit that changes no value goes unseen.
    if path.read_bytes() != _as_text(_sealed(value)).encode():
        state = "has no checksum" if found is None else "differs from its checksum"
        raise UserError(f"{path} {state}: it was damaged or edited; run the command that made it again")
    return value


def _sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**value, "sha256": hashlib.sha256(_as_text(value).encode()).hexdigest()}


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the folder is incomplete, make it again") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run the same command again") from None
