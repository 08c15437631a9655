"""What the tests of this room share: real digits, a teacher that shows what it saw, and the real checkpoints."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pixel_teacher import NAMES, PixelTeacher
from sklearn.datasets import load_digits

from moist.data import Column, DataSplits, ImageSchema, IndexedDataset, TableSchema, TextSchema, data_root
from moist.teachers import TeacherSettings

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cut(whole: IndexedDataset, *sizes: int) -> DataSplits:
    """Return the first rows as training part, the next as validation, the next as test part."""
    edges = np.cumsum([0, *sizes])
    parts = [whole.take(np.arange(start, stop)) for start, stop in pairwise(edges)]
    return DataSplits(*parts)


@pytest.fixture(scope="session")
def digits() -> DataSplits:
    """Return real digits, uint8 (N, 8, 8, 1)."""
    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
    whole = IndexedDataset("digits", "train", "vision", images, data.target, NAMES, ImageSchema(8, 8, 1))
    return cut(whole, 600, 100, 300)


@pytest.fixture(scope="session")
def table() -> DataSplits:
    """Return digits as a table with missing values and a column of categories: how bright the top left quarter is."""
    data = load_digits()
    numbers = data.data[:, 20:44].astype(np.float32)
    category = np.digitize(data.images[:, :4, :4].sum(axis=(1, 2)), [60, 90]).astype(np.float32)
    numbers[::7, 3] = np.nan
    category[::11] = np.nan
    columns = [Column(f"pixel {i}", "numeric") for i in range(24)]
    schema = TableSchema((*columns, Column("corner", "categorical", ("dark", "grey", "bright"))))
    raw = np.column_stack([numbers, category])
    whole = IndexedDataset("table", "train", "tabular", raw, data.target, tuple("0123456789"), schema)
    return cut(whole, 600, 100, 300)


@pytest.fixture(scope="session")
def texts() -> DataSplits:
    """Return hand-written questions of three intents."""
    lines = {
        "card": ["my card is lost", "I lost my bank card", "the card was stolen", "card does not work", "broken card"],
        "rate": ["what is the exchange rate", "euro rate today", "is the rate good", "rate of dollars", "which rate"],
        "cash": ["no cash at the machine", "cash was not paid out", "wrong cash amount", "cash missing", "get cash"],
    }
    inputs = np.array([line for group in lines.values() for line in group], dtype=object)
    target = np.repeat(np.arange(3), 5)
    whole = IndexedDataset("intents", "train", "text", inputs, target, tuple(lines), TextSchema())
    rows = np.arange(15).reshape(3, 5).T.reshape(-1)
    return cut(whole.take(rows), 12, 3, 0)


@pytest.fixture
def pixel_teacher() -> PixelTeacher:
    """Return a teacher whose signals are the pixels that it saw."""
    return PixelTeacher()


@pytest.fixture(scope="session")
def cifar10_test() -> Callable[[int], IndexedDataset]:
    """Return a function that reads the first rows of CIFAR-10's test part; skips where it is not on this machine."""

    def read(num_rows: int) -> IndexedDataset:
        rows = pq.read_table(_real("cifar10/test.parquet"))[:num_rows]
        images = [np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in rows["img"].to_pylist()]
        target = np.asarray(rows["label"], dtype=np.int64)
        return IndexedDataset("cifar10", "test", "vision", np.stack(images), target, CIFAR10, ImageSchema(32, 32, 3))

    return read


@pytest.fixture(scope="session")
def public_resnet() -> Callable[..., TeacherSettings]:
    """Return a function from a depth to the settings of the public ResNet; skips where its checkpoint is not here."""

    def settings(depth: int, **more: object) -> TeacherSettings:
        name = {20: "resnet20-12fca82f.th", 56: "resnet56-4bfd9763.th"}[depth]
        return TeacherSettings(
            kind="torch",
            factory="moist.teachers.cifar_resnet:cifar_resnet",
            kwargs={"depth": depth},
            checkpoint=str(_real(f"teachers/{name}")),
            mean=[0.485, 0.456, 0.406],
            std=[0.229, 0.224, 0.225],
            **more,
        )

    return settings


def _real(name: str) -> Path:
    root = data_root()
    if root is None or not (root / name).is_file():
        pytest.skip(f"{name} is not on this machine; set MOIST_DATA to the folder that holds it")
    return root / name
