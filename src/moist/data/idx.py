"""MNIST's own format: IDX files, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from moist.types import UserError

__all__ = ["find_idx", "read_idx"]

FILES = {
    "train": ("train-images", "train-labels"),
    "test": ("t10k-images", "t10k-labels"),
}


PIECE = 1 << 24


def find_idx(folder: Path) -> dict[str, tuple[Path, Path | None]]:
    """Return the files of images and of labels of each split; empty where ``folder`` holds none."""
    found = {}
    for split, (images, labels) in FILES.items():
        image_file, label_file = _find(folder, images, 3), _find(folder, labels, 1)
        if image_file is not None:
            found[split] = (image_file, label_file)
    return found


def _find(folder: Path, stem: str, axes: int) -> Path | None:
    for name in (f"{stem}-idx{axes}-ubyte.gz", f"{stem}-idx{axes}-ubyte", f"{stem}.idx{axes}-ubyte"):
        if (folder / name).is_file():
            return folder / name
    return None


def read_idx(file: Path) -> np.ndarray:
    """Return the array of bytes in an IDX file.

    No more is unpacked than the header says, and that not before there is so much of it.

    Raises:
        UserError: the file is damaged or holds something else than unsigned bytes.
    """
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as content:
            return _read(cast(IO[bytes], content), file)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(file, str(error)) from None


def _read(content: IO[bytes], file: Path) -> np.ndarray:
    magic = content.read(4)
    if len(magic) < 4 or magic[:3] != b"\x00\x00\x08":
        raise _damaged(file, "its header is not that of unsigned bytes")
    sizes = content.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise _damaged(file, "its header is not that of unsigned bytes")
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    wanted, data = math.prod(shape), bytearray()
    while len(data) <= wanted and (piece := content.read(min(PIECE, wanted + 1 - len(data)))):
        data += piece
    if len(data) != wanted:
        has = f"more than {wanted}" if len(data) > wanted else len(data)
        raise _damaged(file, f"it must hold {shape} bytes, but has {has}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _damaged(file: Path, why: str) -> UserError:
    return UserError(f"{file} cannot be read as an IDX file: {why}; get the file again")
