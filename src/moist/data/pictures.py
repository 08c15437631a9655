"""Pictures from anywhere (bytes, files, arrays), and how one is decoded."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from moist.data.tables import Rows
from moist.storage import content_key
from moist.types import UserError

__all__ = [
    "IMAGE_SUFFIXES",
    "Pictures",
    "UnreadableImage",
    "array_pictures",
    "count_pixels",
    "decode_image",
    "file_pictures",
    "open_image",
    "row_pictures",
    "to_array",
]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 50_000_000
GREY_MODES = ("1", "L", "LA", "La", "I", "F")

Encoded = bytes | Path | np.ndarray | None


class UnreadableImage(UserError):
    """A picture that is damaged, too large, or no picture at all."""


@dataclass(frozen=True)
class Pictures:
    """Pictures in a fixed order, read one after the other.

    Args:
        count: N.
        key: names the content.
        read: yields a name for errors and the encoded picture (bytes, a path, or an array uint8 (H, W, C)) of each.
        array: all of them, where they are decoded already: uint8 (N, H, W, C).
    """

    count: int
    key: Callable[[], str]
    read: Callable[[], Iterator[tuple[str, Encoded]]]
    array: np.ndarray | None = None


def array_pictures(images: np.ndarray, key: str) -> Pictures:
    """Return the pictures of an array, uint8 (N, H, W, C)."""
    return Pictures(len(images), lambda: key, lambda: ((f"image {i}", x) for i, x in enumerate(images)), images)


def file_pictures(files: Sequence[Path], root: Path) -> Pictures:
    """Return pictures that are files below ``root``; names, sizes and times of change stand for their content."""

    def key() -> str:
        facts = [(file.relative_to(root).as_posix(), file.stat()) for file in files]
        return content_key([(name, fact.st_size, fact.st_mtime_ns) for name, fact in facts], str(root.resolve()))

    return Pictures(len(files), key, lambda: ((str(file), file) for file in files))


def row_pictures(rows: Rows, column: str) -> Pictures:
    """Return the pictures in a column of a table: bytes, or {bytes, path} as Hugging Face ``datasets`` writes them."""

    def read() -> Iterator[tuple[str, Encoded]]:
        number = 1
        for piece in rows.scan(column):
            for value in _values(piece):
                yield _row_picture(value, f"{rows.origin} row {number}", rows.folder)
                number += 1

    return Pictures(rows.num_rows, lambda: content_key(rows.key(), column), read)


def _values(piece: pa.Array) -> Iterator[object]:
    return (value.as_py() for value in piece)


def _row_picture(value: object, name: str, folder: Path) -> tuple[str, Encoded]:
    if not isinstance(value, dict):
        return name, value if isinstance(value, bytes) else None
    data, path = value.get("bytes"), value.get("path")
    name = f"{name} ({path})" if path else name
    return name, data if data is not None or not path else folder / path


def count_pixels(data: bytes) -> int:
    """Return how many pixels an encoded picture says that it has, without decoding it; 0 where it is unreadable."""
    if data.startswith(PNG_START):  # the usual kind, whose size always stands in the same place
        return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return int(image.width * image.height)
    except Exception:  # as below
        return 0


def open_image(
    source: Encoded, name: str, *, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS
) -> Image.Image:
    """Decode one picture upright, to mode L (grey) or RGB.

    Args:
        source: encoded bytes, the path of a file, or a decoded array.
        name: what to call it in an error.
        max_pixels: a larger one is refused before it is decoded.
        formats: those of Pillow that are read.

    Raises:
        UnreadableImage: it is missing, damaged, too large, or of an unknown format.
    """
    if isinstance(source, np.ndarray):
        return Image.fromarray(source[:, :, 0] if source.shape[2] == 1 else source)
    if source is None:
        raise UnreadableImage(f"an image must have content, {name} is empty; drop it, or set data.on_error: skip")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as image:
            if image.width * image.height > max_pixels:
                raise Image.DecompressionBombError(f"{image.width} x {image.height}")
            image.load()
            if image.info:  # where nothing stands beside the pixels, no rotation does
                ImageOps.exif_transpose(image, in_place=True)
            return _plain_mode(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(
            f"an image must have at most {max_pixels:,} pixels, {name} has more ({error}); make it smaller"
        ) from None
    except FileNotFoundError:
        raise UnreadableImage(f"an image file must exist, there is none at {name}; check the path") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes.
        raise UnreadableImage(
            f"an image must be a readable {', '.join(formats)}; {name} is not "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); "
            "replace it, or leave it out (in training: data.on_error: skip)"
        ) from None


def _plain_mode(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # 16-bit grey: Pillow would clip at 255 instead of scaling.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P":
        # By way of RGBA, since a palette may hold transparency.
        image = image.convert("RGBA")
    return _in_mode(image, "L" if image.mode in GREY_MODES else "RGB")


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def to_array(image: Image.Image, channels: int, size: tuple[int, int] | None) -> np.ndarray:
    """Return an image as uint8 (H, W, C), resized and centre-cropped where ``size`` (height, width) is given."""
    image = _in_mode(image, "L" if channels == 1 else "RGB")
    if size is not None and image.size != (size[1], size[0]):
        image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)
    return np.array(image, dtype=np.uint8).reshape(image.height, image.width, channels)


def decode_image(
    source: bytes | Path,
    height: int,
    width: int,
    channels: int,
    name: str = "the image",
    *,
    max_pixels: int = MAX_PIXELS,
    formats: tuple[str, ...] = FORMATS,
) -> np.ndarray:
    """Return one picture as a model of that input size reads it: uint8 (height, width, channels).

    Args:
        source: encoded bytes, or the path of a file.
        height: to resize to.
        width: to resize to.
        channels: 1 or 3.
        name: what to call it in an error.
        max_pixels: a larger one is refused before it is decoded.
        formats: those of Pillow that are read.

    Raises:
        UnreadableImage: it is missing, damaged, too large, or of an unknown format.
    """
    image = open_image(source, name, max_pixels=max_pixels, formats=formats)
    return to_array(image, channels, (height, width))
