"""Decoding happens once: pictures become one memory-mapped array, whose manifest is written last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy

from moist.data.pictures import Pictures, UnreadableImage, open_image, to_array
from moist.data.schema import ImageSchema
from moist.progress import progress_bar, say
from moist.storage import content_key, file_sha256, read_json, write_atomic, write_json
from moist.types import UserError

__all__ = ["DecodeRule", "DecodedImages", "decode_pictures"]

VERSION = 1
REPORT_EVERY = 100
NAMES_SHOWN = 10


@dataclass(frozen=True)
class DecodeRule:
    """How pictures are decoded.

    Args:
        size: (height, width) to resize to, or None where all have one size.
        on_error: skip or raise at an unreadable picture.
        like: the schema that the pictures must fit; None for the training part, which sets it.
    """

    size: tuple[int, int] | None
    on_error: Literal["raise", "skip"]
    like: ImageSchema | None = None


@dataclass(frozen=True)
class DecodedImages:
    """Decoded pictures, uint8 (N, H, W, C), and the row numbers of those that were left out."""

    images: np.ndarray
    skipped: np.ndarray


class _ColourFound(Exception):
    """A coloured picture among grey ones: all must be decoded again, in colour."""


def decode_pictures(
    pictures: Pictures, rule: DecodeRule, cache_dir: Path, title: str, quiet: bool = False
) -> DecodedImages:
    """Return the decoded pictures, from the cache where they are there, whole and of the same content.

    Args:
        pictures: what to decode.
        rule: how.
        cache_dir: folder of all caches.
        title: what the pictures are called in the progress bar.
        quiet: show no progress.

    Raises:
        UserError: there are no pictures, their sizes differ, or one is unreadable and ``on_error`` is raise.
    """
    if not pictures.count:
        raise UserError(f"a data set must have at least one example, {title} has none; give a part with images")
    if pictures.array is not None and rule.size in (None, pictures.array.shape[1:3]):
        schema = ImageSchema(*pictures.array.shape[1:])
        _check_size(schema.height, schema.width, rule.like, "the first image", title)
        if rule.like is None or rule.like.channels == schema.channels:
            return DecodedImages(pictures.array, np.empty(0, np.int64))
    folder = _folder(pictures, rule, cache_dir)
    decoded = _open(folder)
    if decoded is None:
        _decode(pictures, rule, folder, title, quiet)
        decoded = _open(folder)
        if decoded is None:
            raise UserError(f"decoded images must stay as they were written, {folder} changed; check the disk")
    return decoded


def _folder(pictures: Pictures, rule: DecodeRule, cache_dir: Path) -> Path:
    like = None if rule.like is None else rule.like.to_dict()
    return cache_dir / "images" / content_key(VERSION, pictures.key(), rule.size, rule.on_error, like)


def _open(folder: Path) -> DecodedImages | None:
    """Return the cached images, or None where they are absent or damaged."""
    if not (folder / "manifest.json").exists():
        return None
    try:
        manifest = read_json(folder / "manifest.json")
        if file_sha256(folder / "images.npy") != manifest["sha256"]:
            raise ValueError("its checksum differs")
        # Copy-on-write: writable for torch, shared between processes, and never written back.
        images = np.load(folder / "images.npy", mmap_mode="c")
        skipped = np.array(manifest["skipped"], dtype=np.int64)
        names = list(manifest["skipped_names"])
    except (KeyError, TypeError, OSError, ValueError) as error:
        say(f"the decoded images in {folder} are damaged ({error}); decoding them again")
        return None
    if len(skipped):
        more = f" and {len(skipped) - len(names)} more" if len(skipped) > len(names) else ""
        say(f"warning: {len(skipped)} unreadable images are left out: {', '.join(names)}{more}")
    return DecodedImages(images, skipped)


def _decode(pictures: Pictures, rule: DecodeRule, folder: Path, title: str, quiet: bool) -> None:
    target = folder / "images.npy"
    facts: dict[str, Any] = {}

    def write(channels: int | None) -> None:
        def fill(partial: Path) -> None:
            with partial.open("wb") as file:
                facts.update(_write(file, pictures, rule, channels, title, quiet))

        write_atomic(target, fill)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"the cache folder must be writable, {folder} is not ({error.strerror}); set MOIST_CACHE to one that is"
        ) from None
    try:
        write(None if rule.like is None else rule.like.channels)
    except _ColourFound:
        write(3)
    write_json(folder / "manifest.json", {"version": VERSION, "sha256": file_sha256(target), **facts})


def _write(
    file: IO[bytes], pictures: Pictures, rule: DecodeRule, channels: int | None, title: str, quiet: bool
) -> dict[str, Any]:
    """Append each picture's pixels, then the header with their number; a full disk is an error here, not a signal."""
    first: tuple[ImageSchema, str] | None = None
    count, skipped, names = 0, [], []
    probing = channels is None
    with progress_bar(f"decoding {title}", pictures.count, quiet=quiet) as advance:
        for row, (name, source) in enumerate(pictures.read()):
            try:
                image = open_image(source, name)
            except UnreadableImage:
                if rule.on_error == "raise":
                    raise
                skipped.append(row)
                names.append(name)
                continue
            finally:
                if row % REPORT_EVERY == REPORT_EVERY - 1 or row == pictures.count - 1:
                    advance(row % REPORT_EVERY + 1)
            if channels is None:
                channels = 1 if image.mode == "L" else 3
            elif probing and channels == 1 and image.mode != "L":
                raise _ColourFound
            pixels = to_array(image, channels, rule.size)
            if first is None:
                _check_size(pixels.shape[0], pixels.shape[1], rule.like, name, title)
                first = ImageSchema(*pixels.shape), name
                _write_header(file, count, first[0])
            else:
                _check_size(pixels.shape[0], pixels.shape[1], first[0], name, first[1])
            file.write(pixels.data)
            count += 1
    if first is None:
        raise UserError(f"at least one image must be readable, none of the {pictures.count} of {title} is; {names[0]}")
    file.seek(0)
    _write_header(file, count, first[0])
    return {"count": count, "skipped": skipped, "skipped_names": names[:NAMES_SHOWN]}


def _write_header(file: IO[bytes], count: int, schema: ImageSchema) -> None:
    """Write the .npy header; numpy pads it so that it has the same length for any number of rows."""
    shape = (count, schema.height, schema.width, schema.channels)
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _check_size(height: int, width: int, like: ImageSchema | None, name: str, other: str) -> None:
    if like is not None and (height, width) != (like.height, like.width):
        raise UserError(
            f"all images must have one size; {name} is {height} x {width} (height x width), "
            f"others ({other}) are {like.height} x {like.width}; "
            f"set data.image_size to resize them all, for example image_size: [{like.height}, {like.width}]"
        )
