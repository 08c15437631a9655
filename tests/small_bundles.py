"""Small untrained bundles of every modality."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from moist.data import (
    Column,
    DataSettings,
    ImageSchema,
    IndexedDataset,
    TableSchema,
    TextSchema,
    TransformSettings,
    fit_transform,
)
from moist.mixture import DeferSettings, InferenceSettings, MixtureSettings, build_mixture, save_bundle
from moist.students import StudentSettings, create_student


def make_bundle(path, train, student, *, data=None, defer=False):
    torch.manual_seed(0)
    transform = fit_transform(train, TransformSettings(num_buckets=64, max_length=8))
    example = transform.to_tensor(torch.from_numpy(np.ascontiguousarray(transform.encode(train.inputs[:8]))))
    router = {"kind": "bag", "width": 4} if train.kind == "text" else {}
    settings = MixtureSettings.model_validate({"num_domains": 3, "router": router})
    mixture = build_mixture(settings, student, transform.input_shape, len(train.classes), example).deploy()
    mixture.classes, mixture.transform, mixture.schema = train.classes, transform, train.schema
    if defer:
        mixture.inference, mixture.threshold = InferenceSettings(defer=DeferSettings()), 2.0
        mixture.generalist = create_student(student, transform.input_shape, len(train.classes)).eval()
    config = None if data is None else {"data": data.model_dump(mode="json")}
    measured = {"mixture": {"accuracy": 0.5, "load": [0.5, 0.25, 0.25]}, "student_same_cost": {"accuracy": 0.4}}
    save_bundle(mixture, path, student=student, settings=settings, measured=measured, config=config)
    return path


def digits_in(folder):
    digits = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)[..., None]
    schema = ImageSchema(8, 8, 1)
    train = IndexedDataset(
        "digits", "train", "vision", images, digits.target, tuple(str(digit) for digit in range(10)), schema
    )
    student = StudentSettings(family="mlp", width=8)
    return make_bundle(folder / "digits", train, student, data=DataSettings(name="digits"))


def texts_in(folder):
    texts = np.array(["lost card", "late train", "new card", "old train"], dtype=object)
    train = IndexedDataset("questions", "train", "text", texts, np.arange(4) % 2, ("card", "train"), TextSchema())
    return make_bundle(folder / "texts", train, StudentSettings(family="bag", width=4), defer=True)


def things_in(folder):
    schema = TableSchema((Column("size", "numeric"), Column("colour", "categorical", ("blue", "green", "red"))))
    raw = np.array([[1.0, 0], [2.0, 1], [3.0, 2], [4.0, 0], [5.0, 1], [6.0, 2]], dtype=np.float32)
    train = IndexedDataset("things", "train", "tabular", raw, np.arange(6) % 2, ("no", "yes"), schema)
    data = DataSettings(path=str(folder / "things.csv"), kind="tabular", label_column="answer")
    return make_bundle(folder / "things", train, StudentSettings(family="mlp", width=6), data=data)


@pytest.fixture
def digits_bundle(tmp_path):
    return digits_in(tmp_path)


@pytest.fixture
def text_bundle(tmp_path):
    return texts_in(tmp_path)


@pytest.fixture
def table_bundle(tmp_path):
    return things_in(tmp_path)
