"""What the tests of this room share: small real pictures, and the real data where they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from moist.data.catalog import find_built_in


@pytest.fixture(scope="session")
def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """Return 120 real digits, uint8 (120, 8, 8), and their labels."""
    digits = load_digits()
    return np.rint(digits.images[:120] * (255 / 16)).astype(np.uint8), digits.target[:120]


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Return a function from an array to PNG bytes."""

    def encode(pixels: np.ndarray, form: str = "PNG") -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, form)
        return buffer.getvalue()

    return encode


@pytest.fixture
def real() -> Callable[[str], Path]:
    """Return a function from a built-in name to its folder; skips where the data are not on this machine."""

    def find(name: str) -> Path:
        place = find_built_in(name)
        if place is None:
            pytest.skip(f"{name} is not on this machine; set MOIST_DATA to the folder that holds it")
        return place

    return find
