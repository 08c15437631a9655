"""A thousand bits of a bundle, and of a signal cache, are flipped one at a time: each is found."""

import numpy as np
import pytest
import torch

from moist.data import ImageSchema, IndexedDataset
from moist.errors import UserError
from moist.mixture import inspect_bundle
from moist.teachers import cache_teacher, inspect_signal_cache
from moist.types import TeacherSignal

FLIPS = 1000


class PixelTeacher:
    """Says of an image its first pixels."""

    name, key, classes, num_params = "pixels", "pixels", ("a", "b", "c"), 0

    def signal(self, inputs):
        flat = torch.from_numpy(inputs.reshape(len(inputs), -1).astype(np.float32))
        return TeacherSignal(flat[:, :3], flat[:, :5])

    def macs(self, inputs):
        return 0.0


@pytest.fixture
def signals(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1), dtype=np.uint8)
    target = np.arange(50) % 3
    data = IndexedDataset("noise", "train", "vision", images, target, ("a", "b", "c"), ImageSchema(4, 4, 1))
    cache = cache_teacher(
        PixelTeacher(), data, [0], cache_dir=tmp_path, top_k=2, embedding=True, shard_rows=20, quiet=True
    )
    return cache.path


def flip_everywhere(folder, verify):
    """Flip single bits, each file's share at least 20, and return those that were not found."""
    random = np.random.default_rng(0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = np.array([path.stat().st_size for path in files])
    chosen = np.concatenate(
        [np.repeat(np.arange(len(files)), 20), random.choice(len(files), FLIPS, p=sizes / sizes.sum())]
    )
    unseen = []
    verify(folder)  # whole, to begin with
    for number in chosen:
        path, whole = files[number], files[number].read_bytes()
        place = int(random.integers(8 * len(whole)))
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            verify(folder)
            unseen.append((path.name, place))
        except UserError:
            pass
        path.write_bytes(whole)
    verify(folder)
    assert len(chosen) >= FLIPS
    return unseen


def test_every_flipped_bit_of_a_bundle_is_found(text_bundle):
    assert flip_everywhere(text_bundle, lambda folder: inspect_bundle(folder, verify=True)) == []


def test_every_flipped_bit_of_a_signal_cache_is_found(signals):
    assert flip_everywhere(signals, lambda folder: inspect_signal_cache(folder, verify=True)) == []
