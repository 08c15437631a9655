"""Untrained mixtures of every modality, with inputs that reach several specialists."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from moist.data import (
    Column,
    ImageSchema,
    ImageTransform,
    TableSchema,
    TableTransform,
    TextSchema,
    TextTransform,
)
from moist.mixture import (
    DeferSettings,
    InferenceSettings,
    MixtureOfSpecialists,
    MixtureSettings,
    build_mixture,
    calibrate_exit,
)
from moist.students import StudentSettings, create_student

CLASSES = ("cat", "dog", "größe | x")
WORDS = ("red", "green", "blue", "loud", "quiet", "fast", "slow")


@dataclass
class Tiny:
    mixture: MixtureOfSpecialists
    student: StudentSettings
    settings: MixtureSettings
    raw: np.ndarray


def small_net(num_classes, input_shape, hidden=4):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(input_shape.shape[0], hidden), nn.ReLU(), nn.Linear(hidden, num_classes)
    )


def _table():
    schema = TableSchema((Column("a", "numeric"), Column("b", "numeric"), Column("c", "categorical", ("x", "y"))))
    raw = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    raw[:, 2] = np.arange(40) % 2
    raw[3, 0] = raw[5, 2] = np.nan
    return schema, TableTransform(schema, (0.1, -0.2), (1.5, 0.7), (0,)), raw


def _image():
    schema = ImageSchema(8, 8, 3)
    raw = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    return schema, ImageTransform(schema, (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)), raw


def _text():
    random = np.random.default_rng(0)
    raw = np.array([" ".join(random.choice(WORDS, 3)) for _ in range(40)], dtype=object)
    return TextSchema(), TextTransform(6, 64, word_ngrams=2), raw


CASES = {
    "table-mlp": (_table, {"family": "mlp", "width": 5}, {}),
    "table-mlp-trunk": (
        _table,
        {"family": "mlp", "width": 5, "depth": 2},
        {"trunk_stages": 2, "router": {"kind": "mlp", "reads": "trunk"}},
    ),
    "image-resnet": (_image, {"family": "resnet", "width": 2}, {"router": {"kind": "cnn", "width": 2}}),
    "image-resnet-trunk": (
        _image,
        {"family": "resnet", "width": 2},
        {"trunk_stages": 2, "router": {"reads": "trunk"}},
    ),
    "text-bag": (_text, {"family": "bag", "width": 4}, {"router": {"kind": "bag", "width": 3}}),
    "text-transformer": (
        _text,
        {"family": "transformer", "width": 4, "depth": 1},
        {"router": {"kind": "bag", "width": 3}},
    ),
    "text-own-classes": (
        _text,
        {"family": "bag", "width": 4},
        {"trunk_stages": 1, "router": {"reads": "trunk"}, "classes_per_specialist": 2},
    ),
    "image-own-classes": (
        _image,
        {"family": "resnet", "width": 2},
        {"trunk_stages": 2, "router": {"reads": "trunk"}, "classes_per_specialist": 2},
    ),
    "table-exit": (
        _table,
        {"family": "mlp", "width": 5, "depth": 2},
        {"trunk_stages": 1, "router": {"reads": "trunk"}, "exit": {"width": 8}},
    ),
    "image-exit": (
        _image,
        {"family": "resnet", "width": 2, "tail_width": 3, "tail_from": 2},
        {"trunk_stages": 2, "router": {"reads": "trunk"}, "exit": {"width": 1}},
    ),
    "own-factory": (_table, {"family": "torch", "factory": "tiny_mixtures:small_net"}, {}),
}


def make_tiny(case="table-mlp", *, top_k=1, defer=False, num_domains=4, seed=0):
    source, student, mixture = CASES[case]
    schema, transform, raw = source()
    torch.manual_seed(seed)
    student = StudentSettings.model_validate(student)
    settings = MixtureSettings.model_validate({"num_domains": num_domains, **mixture})
    example = transform.to_tensor(torch.from_numpy(transform.encode(raw[:8])))
    own = settings.classes_per_specialist
    groups = None if own is None else [sorted({k % 3, (k + 1) % 3}) for k in range(num_domains)]
    built = build_mixture(settings, student, transform.input_shape, len(CLASSES), example, groups=groups).deploy()
    for buffer in built.buffers():
        # Statistics of batch normalisation that say something.
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    if settings.exit is not None:
        calibrate_exit(built.trunk, built.gate, [example], settings.exit.share)
    built.classes, built.transform, built.schema = CLASSES, transform, schema
    built.inference = InferenceSettings(top_k=top_k, defer=DeferSettings() if defer else None)
    if defer:
        built.threshold = 0.5
        built.generalist = create_student(student, transform.input_shape, len(CLASSES)).eval()
    return Tiny(built, student, settings, raw)


def entries(num_domains=4):
    return {
        "teacher": {"accuracy": 0.95, "name": "a | teacher"},
        "mixture": {"accuracy": 0.9, "active_macs": 123.0, "ece": 0.02, "load": [0.97, 0.01, 0.01, 0.01][:num_domains]},
        "student_same_cost": {"accuracy": {"mean": 0.88, "std": 0.0, "values": [0.88]}, "active_macs": 130.0},
    }
