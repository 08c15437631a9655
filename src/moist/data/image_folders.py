"""A folder of images per class, with or without train and test folders above them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from moist.data.pictures import IMAGE_SUFFIXES
from moist.data.tables import SPLIT_NAMES

__all__ = ["ImageFolder", "find_image_folders"]


@dataclass(frozen=True)
class ImageFolder:
    """The images of one split below ``root``; ``labels`` are their folders' names, or None where none names them."""

    root: Path
    files: tuple[Path, ...]
    labels: tuple[str, ...] | None


def find_image_folders(folder: Path) -> dict[str, ImageFolder]:
    """Return the images of each split; empty where ``folder`` holds none."""
    found = {}
    for place in _folders(folder):
        split = SPLIT_NAMES.get(place.name.lower())
        images = _read_split(place) if split is not None else None
        if split is not None and images is not None:
            found[split] = images
    if "train" in found:
        return found
    whole = _read_split(folder)
    return {} if whole is None else {"train": whole}


def _read_split(folder: Path) -> ImageFolder | None:
    files, labels = [], []
    for place in _folders(folder):
        below = _images_below(place)
        files += below
        labels += [place.name] * len(below)
    if files:
        return ImageFolder(folder, tuple(files), tuple(labels))
    loose = sorted(file for file in folder.iterdir() if _is_image(file))
    return ImageFolder(folder, tuple(loose), None) if loose else None


def _folders(folder: Path) -> list[Path]:
    return sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))


def _images_below(folder: Path) -> list[Path]:
    walked = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sorted(file for file in walked if _is_image(file))


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
