"""Every form in which inputs may come says the same; whatever cannot be read is refused with words."""

import base64
import io
import json
import struct

import numpy as np
import pytest
from PIL import Image
from serving import form, npy, png

from moist.runtime import RoutedSession


@pytest.fixture
def expected(digits_bundle, images):
    """The most probable class and its probability of every image."""
    answer = RoutedSession(digits_bundle).predict(images)
    codes = answer.probabilities.argmax(axis=1)
    return [(str(code), float(row[code])) for code, row in zip(codes, answer.probabilities)]


def found(answer):
    return [(entry["label"], entry["probability"]) for entry in answer["predictions"]]


def same(answer, expected):
    for (label, probability), (wanted, value) in zip(found(answer), expected, strict=True):
        assert label == wanted
        assert probability == pytest.approx(value, abs=2e-6)


def test_images_in_every_form(digits, images, expected):
    same(digits.predict(png(images[0]), "image/png"), expected[:1])
    same(digits.predict(npy(images), "application/x-npy"), expected)
    same(digits.predict(npy(images[0]), "application/octet-stream"), expected[:1])
    same(digits.predict({"inputs": images.tolist()}), expected)
    coded = [base64.b64encode(png(image)).decode() for image in images]
    same(digits.predict({"inputs": coded}), expected)
    same(digits.predict({"inputs": [f"data:image/png;base64,{coded[0]}"]}), expected[:1])
    same(digits.predict(*form([("image", f"{n}.png", "image/png", png(i)) for n, i in enumerate(images)])), expected)
    same(digits.predict(*form([("array", "all.npy", "application/x-npy", npy(images))])), expected)


def test_lossy_pictures_of_any_size_are_read(digits):
    for kind, name in (("JPEG", "image/jpeg"), ("WEBP", "image/webp")):
        buffer = io.BytesIO()
        Image.new("RGB", (31, 17), (200, 10, 10)).save(buffer, kind)
        assert len(digits.predict(buffer.getvalue(), name)["predictions"]) == 1


def test_texts_in_every_form(start, text_bundle):
    server = start(text_bundle)
    texts = ["lost card", "größe", ""]
    answer = server.predict({"inputs": texts})
    assert found(server.predict(npy(np.array(texts)), "application/x-npy")) == found(answer)
    assert found(server.predict(*form([("text", None, None, text.encode()) for text in texts]))) == found(answer)
    assert found(server.predict("lost card", "text/plain")) == found(answer)[:1]
    assert [entry["deferred"] for entry in answer["predictions"]] == [True] * 3  # its threshold is above any confidence


def test_rows_in_every_form(start, table_bundle):
    server = start(table_bundle)
    rows = [{"size": 1.5, "colour": "green"}, {"size": None, "colour": "never seen"}]
    answer = server.predict({"inputs": rows})
    assert found(server.predict({"inputs": [[1.5, "green"], [None, None]]})) == found(answer)
    assert found(server.predict(npy(np.array([[1.5, 1], [np.nan, np.nan]])), "application/x-npy")) == found(answer)
    parts = [("row", None, None, json.dumps(row).encode()) for row in rows]
    assert found(server.predict(*form(parts))) == found(answer)


def header_only(shape, descr="|u1"):
    """An .npy file that promises ``shape`` and holds nothing."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def bomb(width, height):
    """A few kilobytes of PNG that decode to width x height pixels."""
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def tiff():
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "TIFF")
    return buffer.getvalue()


REFUSED = {
    "no json": (b"{", "application/json", 422, "must be JSON"),
    "no object": (b"[]", "application/json", 422, '"inputs"'),
    "no list": ({"inputs": 3}, "application/json", 422, "must be a list"),
    "no input": ({"inputs": []}, "application/json", 422, "at least one input"),
    "another key": ({"inputs": ["a"], "path": "/etc"}, "application/json", 422, "alone, got also"),
    "nan": (b'{"inputs": [NaN]}', "application/json", 422, "NaN is no JSON"),
    "too deep": (b'{"inputs":' + b"[" * 100_000, "application/json", 422, "must be JSON"),
    "no base64": ({"inputs": ["%%%"]}, "application/json", 422, "must be base64"),
    "ragged pixels": ({"inputs": [[1], [1, 2]]}, "application/json", 422, "lists of pixels of equal shape"),
    "wide pixels": ({"inputs": [[[[256]]]]}, "application/json", 422, "whole numbers from 0 to 255"),
    "huge pixels": ({"inputs": [10**400]}, "application/json", 422, "images must be"),
    "no pixels": ({"inputs": [[]]}, "application/json", 422, "images must"),
    "another shape": (npy(np.zeros((2, 9, 8, 1), np.uint8)), "application/x-npy", 422, "must have the shape (8, 8, 1)"),
    "another dtype": (npy(np.zeros((2, 8, 8, 1))), "application/x-npy", 422, "dtype uint8"),
    "pickle": (npy(np.array([{}], dtype=object)), "application/x-npy", 422, "without objects"),
    "promises": (header_only((10**12, 8, 8, 1)), "application/x-npy", 422, "as many as its header says"),
    "overflow": (header_only((2**62, 4, 1, 1)), "application/x-npy", 422, "as many as its header says"),
    "negative": (header_only((-1, 8, 8, 1)), "application/x-npy", 422, "must be an .npy file"),
    "many rows": (npy(np.zeros((9, 8, 8, 1), np.uint8)), "application/x-npy", 413, "at most 8 inputs, got 9"),
    "many parts": (*form([("a", "b", "image/png", b"")] * 9), 422, "Too many files"),
    "no parts": (*form([]), 422, "at least one part"),
    "no boundary": (b"x", "multipart/form-data", 422, "boundary"),
    "no picture": (b"GIF89a", "image/png", 422, "readable PNG, JPEG, WEBP"),
    "another format": (tiff(), "image/png", 422, "readable PNG, JPEG, WEBP"),
    "image bomb": (bomb(4100, 4100), "image/png", 422, "at most 1,000,000 pixels"),
    "larger bomb": (bomb(16000, 16000), "image/png", 422, "at most 1,000,000 pixels"),
    "text": ("a text", "text/plain", 415, "reads images, not texts"),
    "no type": (b"abc", "", 415, "Content-Type must be one of"),
    "another type": (b"abc", "application/zip", 415, "got application/zip"),
    "too large": (b"0" * 300_000, "image/png", 413, "at most 200000 bytes"),
}


def test_what_cannot_be_read_is_refused(start, digits_bundle):
    server = start(digits_bundle, max_rows=8, max_pixels=1_000_000, max_body_bytes=200_000)
    for case, (body, kind, status, words) in REFUSED.items():
        assert words in server.predict(body, kind, status=status)["error"], case
    assert server.ask("GET", "/healthz")[0] == 200


def test_texts_and_rows_that_cannot_be_read_are_refused(start, text_bundle, table_bundle):
    texts, rows = start(text_bundle), start(table_bundle)
    assert "must be strings, got int" in texts.predict({"inputs": ["a", 3]}, status=422)["error"]
    assert "must be strings, got NoneType" in texts.predict({"inputs": [None]}, status=422)["error"]
    assert "must be UTF-8" in texts.predict(b"\xff", "text/plain", status=422)["error"]
    assert "not images" in texts.predict(b"", "image/png", status=415)["error"]
    assert "column 'colour'" in rows.predict({"inputs": [{"size": 1, "colour": {}}]}, status=422)["error"]
    assert "must have 2 values" in rows.predict({"inputs": [[1]]}, status=422)["error"]
    assert "an object or a list" in rows.predict({"inputs": ["a"]}, status=422)["error"]
    assert "must hold numbers" in rows.predict({"inputs": [{"size": "big", "colour": "red"}]}, status=422)["error"]
    assert "finite" in rows.predict(npy(np.array([[np.inf, 0]])), "application/x-npy", status=422)["error"]
    assert "whole numbers below 3" in rows.predict(npy(np.array([[1.0, 7]])), "application/x-npy", status=422)["error"]
