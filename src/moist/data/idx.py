"""MNIST's own format: IDX files, plain or gzipped."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from moist.types import UserError

__all__ = ["find_idx", "read_idx"]

FILES = {
    "train": ("train-images", "train-labels"),
    "test": ("t10k-images", "t10k-labels"),
}


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

    Raises:
        UserError: the file is damaged or holds something else than unsigned bytes.
    """
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(file, str(error)) from None
    if len(data) < 4 or data[:3] != b"\x00\x00\x08" or len(data) < 4 + 4 * data[3]:
        raise _damaged(file, "its header is not that of unsigned bytes")
    axes = data[3]
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", axes, 4))
    if len(data) - 4 - 4 * axes != int(np.prod(shape)):
        raise _damaged(file, f"it must hold {shape} bytes, but has {len(data) - 4 - 4 * axes}")
    return np.array(np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape))


def _damaged(file: Path, why: str) -> UserError:
    return UserError(f"{file} cannot be read as an IDX file: {why}; get the file again")
