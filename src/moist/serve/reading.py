"""From the body of a request to raw inputs, whatever form it comes in.

Whoever sends a request is not trusted: sizes are checked before anything is made from them, no pickle is read, and
whatever cannot be read is the client's error, in words.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from moist.data import count_pixels, decode_image
from moist.errors import UserError
from moist.runtime import RoutedSession
from moist.serve.refusal import Refusal

__all__ = ["IMAGE_TYPES", "NPY_TYPES", "Reader", "is_light", "media_type"]

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp")
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP")
NPY_TYPES = ("application/x-npy", "application/octet-stream")
# What is read at once, on the event loop, rather than on another thread.
LIGHT_BYTES, LIGHT_PIXELS = 1 << 16, 1 << 20
# What np.load reads of an .npy header; a longer one is an attack.
MAX_HEADER = 10_000


def media_type(header: str) -> str:
    """Return the type of a Content-Type header, without its parameters."""
    return header.partition(";")[0].strip().lower()


def is_light(kind: str, body: bytes) -> bool:
    """Tell whether a body takes so little time to read that handing it to another thread would take longer."""
    if len(body) > LIGHT_BYTES:
        return False
    if kind in IMAGE_TYPES:  # a few bytes may decode to many pixels
        return count_pixels(body) <= LIGHT_PIXELS
    return kind in (*NPY_TYPES, "text/plain") or (kind == "application/json" and len(body) <= LIGHT_BYTES // 16)


class Reader:
    """Reads inputs for one session.

    Args:
        session: says what an input looks like.
        max_rows: most inputs of one request.
        max_pixels: largest picture.
    """

    def __init__(self, session: RoutedSession, max_rows: int, max_pixels: int) -> None:
        self._session, self._max_rows, self._max_pixels = session, max_rows, max_pixels

    def read(self, kind: str, body: bytes) -> Any:
        """Return raw inputs of a body of media type ``kind``: an array (N, ...), or a list of N texts.

        Raises:
            Refusal: 413, 415 or 422.
        """
        if kind in IMAGE_TYPES:
            return self._images([body])
        if kind in NPY_TYPES:
            return self._checked(self._from_array(_load_npy(body)))
        if kind == "text/plain":
            return self._checked(self._texts([_utf8(body)]))
        if kind == "application/json":
            return self._checked(self._from_json(_load_json(body)))
        raise Refusal(
            415,
            f"the Content-Type must be one of application/json, {', '.join(IMAGE_TYPES)}, multipart/form-data, "
            f"text/plain, {NPY_TYPES[0]}; got {kind[:100] or 'none'}",
        )

    def read_parts(self, parts: Sequence[tuple[str, bytes]]) -> Any:
        """Return the raw inputs of a form: pictures; or texts; or rows as JSON objects; or one ``.npy`` file.

        Args:
            parts: media type and content of each part; a field that is no file is text/plain.
        """
        if not parts:
            raise Refusal(422, "a form must hold at least one part, got none")
        self._check_count(len(parts))
        if len(parts) == 1 and parts[0][0] in NPY_TYPES:
            return self.read(*parts[0])
        contents = [content for _, content in parts]
        if self._session.kind == "vision":
            return self._images(contents)
        if self._session.kind == "text":
            return self._texts([_utf8(content) for content in contents])
        return self._rows([_load_json(content) for content in contents])

    def _from_json(self, value: Any) -> Any:
        if not isinstance(value, dict) or "inputs" not in value:
            raise Refusal(422, 'the JSON body must be an object with the key "inputs"')
        unknown = sorted(set(value) - {"inputs"})
        if unknown:
            raise Refusal(422, f'the JSON body has the key "inputs" alone, got also {str(unknown)[:200]}')
        inputs = value["inputs"]
        if not isinstance(inputs, list):
            raise Refusal(422, f'"inputs" must be a list with an entry for each input, got {type(inputs).__name__}')
        self._check_count(len(inputs))
        if self._session.kind == "text":
            return self._texts(inputs)
        if self._session.kind == "tabular":
            return self._rows(inputs)
        if all(isinstance(entry, str) for entry in inputs):
            return self._images([_base64(entry) for entry in inputs])
        return self._pixels(inputs)

    def _from_array(self, array: np.ndarray) -> Any:
        if self._session.kind == "text":
            if array.dtype.kind != "U" or array.ndim > 1:
                raise Refusal(422, f"an array of texts must be of one axis and dtype str, got {_described(array)}")
            return self._texts(np.atleast_1d(array).tolist())
        axes = 3 if self._session.kind == "vision" else 1
        if array.ndim == axes:
            array = array[None]
        if self._session.kind == "vision":
            if array.dtype != np.uint8:
                raise Refusal(422, f"an array of images must be of dtype uint8, got {_described(array)}")
            return self._shaped(array)
        if array.dtype.kind not in "fiu" or array.ndim != 2:
            raise Refusal(422, f"an array of rows must hold numbers and have 2 axes, got {_described(array)}")
        return self._numbers(array)

    def _images(self, contents: Sequence[bytes]) -> np.ndarray:
        if self._session.kind != "vision":
            raise Refusal(415, f"this model reads {_wanted(self._session.kind)}, not images")
        self._check_count(len(contents))
        height, width, channels = self._image_shape()
        try:
            decoded = [
                decode_image(
                    content,
                    height,
                    width,
                    channels,
                    f"image {number}",
                    max_pixels=self._max_pixels,
                    formats=IMAGE_FORMATS,
                )
                for number, content in enumerate(contents)
            ]
        except UserError as error:
            raise Refusal(422, str(error)) from None
        return np.stack(decoded)

    def _pixels(self, inputs: Sequence[Any]) -> np.ndarray:
        try:
            array = np.array(inputs)
        except (ValueError, OverflowError, TypeError):
            raise Refusal(422, "images must be base64 strings, or lists of pixels of equal shape") from None
        if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
            raise Refusal(422, "images must be base64 strings, or lists of whole numbers from 0 to 255")
        return self._shaped(array.astype(np.uint8))

    def _shaped(self, images: np.ndarray) -> np.ndarray:
        wanted = self._image_shape()
        if images.ndim != 4 or images.shape[1:] != wanted:
            raise Refusal(422, f"images must have the shape {wanted} (height, width, channels), got {images.shape[1:]}")
        return np.ascontiguousarray(images)

    def _image_shape(self) -> tuple[int, int, int]:
        schema = self._session.input_schema
        return schema["height"], schema["width"], schema["channels"]

    def _texts(self, texts: Sequence[Any]) -> list[str]:
        if self._session.kind != "text":
            raise Refusal(415, f"this model reads {_wanted(self._session.kind)}, not texts")
        wrong = next((text for text in texts if not isinstance(text, str)), None)
        if wrong is not None or None in texts:
            raise Refusal(422, f"texts must be strings, got {type(wrong).__name__}")
        return list(texts)

    def _rows(self, rows: Sequence[Any]) -> np.ndarray:
        names = [column["name"] for column in self._session.input_schema["columns"]]
        named = [_named(row, names) for row in rows]
        try:
            return self._session.encode(named)
        except UserError as error:
            raise Refusal(422, str(error)) from None

    def _numbers(self, array: np.ndarray) -> np.ndarray:
        columns = self._session.input_schema["columns"]
        if array.shape[1] != len(columns):
            raise Refusal(422, f"rows must have {len(columns)} columns, got {array.shape[1]}")
        rows = np.asarray(array, dtype=np.float32)
        if np.isinf(rows).any():
            raise Refusal(422, "numbers must be finite and fit in 32 bits; leave a missing one NaN")
        for number, column in enumerate(columns):
            if column["kind"] == "categorical":
                _check_codes(rows[:, number], column)
        return rows

    def _checked(self, raw: Any) -> Any:
        self._check_count(len(raw))
        return raw

    def _check_count(self, count: int) -> None:
        if count > self._max_rows:
            raise Refusal(413, f"a request must hold at most {self._max_rows} inputs, got {count}; send several")
        if count == 0:
            raise Refusal(422, "a request must hold at least one input, got none")


def _wanted(kind: str) -> str:
    return {"vision": "images", "text": "texts", "tabular": "rows of a table"}[kind]


def _check_codes(codes: np.ndarray, column: dict[str, Any]) -> None:
    known = codes[~np.isnan(codes)]
    if ((known < 0) | (known >= len(column["categories"])) | (known != np.floor(known))).any():
        raise Refusal(
            422,
            f"codes of column {column['name']!r} must be whole numbers below {len(column['categories'])}, or NaN; "
            "send JSON to give categories by name",
        )


def _named(row: Any, names: Sequence[str]) -> dict[str, Any]:
    if isinstance(row, list):
        if len(row) != len(names):
            raise Refusal(422, f"a row must have {len(names)} values, got {len(row)}")
        row = dict(zip(names, row))
    if not isinstance(row, dict):
        raise Refusal(422, f"a row must be an object or a list of values, got {type(row).__name__}")
    wrong = next((name for name in names if isinstance(row.get(name), (list, dict))), None)
    if wrong is not None:
        raise Refusal(422, f"column {wrong!r} must hold a number, a string, true, false or null")
    return row


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(422, f"text must be UTF-8 ({error})") from None


def _load_json(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(422, f"the body must be JSON: {str(error)[:200]}") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON; use null for a missing number")


def _base64(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(422, "an image in JSON must be base64 of a PNG, JPEG or WebP file") from None


def _load_npy(body: bytes) -> np.ndarray:
    file = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file, max_header_size=MAX_HEADER)
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if dtype.hasobject or size != len(body) - file.tell():
            raise ValueError("it must hold plain values, as many as its header says")
        return np.asarray(np.load(io.BytesIO(body), allow_pickle=False, max_header_size=MAX_HEADER))
    except Exception as error:  # numpy evaluates the header as a literal, which fails in many ways
        raise Refusal(422, f"the body must be an .npy file without objects: {str(error)[:200]}") from None


def _described(array: np.ndarray) -> str:
    return f"dtype {array.dtype} and shape {array.shape}"
