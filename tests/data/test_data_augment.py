import time

import numpy as np
import pytest
import torch

from moist.data import AugmentSettings, augment
from moist.data.augment import mix

ALL = AugmentSettings(crop=2, flip=True, cutout=3)


def images(n=6, height=8, width=8, channels=3):
    return torch.from_numpy(np.random.default_rng(0).integers(1, 255, (n, height, width, channels), dtype=np.uint8))


def test_splitmix64_gives_the_published_numbers():
    # The first output of SplitMix64 for seed 0 is 0xE220A8397B1DCDAF; mix drops its lowest bit.
    assert mix(np.array([0]))[0] == 0xE220A8397B1DCDAF >> 1


def test_draws_are_even():
    counts = np.bincount(mix(np.arange(9000), 1, 0) % 9, minlength=9)
    # 1000 expected in each of 9 cells, standard deviation about 30.
    assert np.abs(counts - 1000).max() < 150


def test_view_0_is_the_image_itself_beside_other_views():
    batch = images()
    view = torch.tensor([0, 1, 0, 2, 3, 0])
    out = augment(batch, torch.arange(6), view, ALL)
    for row in range(6):
        assert torch.equal(out[row], batch[row]) == (view[row] == 0)
    assert augment(batch, torch.arange(6), torch.zeros(6, dtype=torch.int64), ALL) is batch


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 6, 3), (5, 9, 4)])
def test_an_images_result_does_not_depend_on_the_batch(shape):
    batch = images(6, *shape)
    index, view = torch.tensor([10, 500, 3, 44, 45, 10]), torch.tensor([1, 2, 3, 4, 0, 2])
    together = augment(batch, index, view, ALL)
    for row in range(6):
        alone = augment(batch[row : row + 1], index[row : row + 1], view[row : row + 1], ALL)
        assert torch.equal(alone[0], together[row])


def _by_hand(image, index, view, settings):
    """Augment one image pixel by pixel."""
    height, width, channels = image.shape
    draw = [int(mix(np.array([index]), view, number)[0]) for number in range(5)]
    pad = settings.crop
    padded = np.zeros((height + 2 * pad, width + 2 * pad, channels), np.uint8)
    padded[pad : pad + height, pad : pad + width] = image
    top, left = draw[0] % (2 * pad + 1), draw[1] % (2 * pad + 1)
    out = padded[top : top + height, left : left + width].copy()
    if settings.flip and draw[2] % 2:
        out = out[:, ::-1].copy()
    for y in range(height):
        for x in range(width):
            y0, x0 = draw[3] % height - settings.cutout // 2, draw[4] % width - settings.cutout // 2
            if settings.cutout and y0 <= y < y0 + settings.cutout and x0 <= x < x0 + settings.cutout:
                out[y, x] = 0
    return out


@pytest.mark.parametrize(
    "settings",
    [ALL, AugmentSettings(crop=3), AugmentSettings(flip=True), AugmentSettings(cutout=4), AugmentSettings()],
)
def test_whole_batches_equal_the_pixel_by_pixel_loop(settings):
    batch = images(16, 7, 5, 3)
    index, view = torch.arange(16) * 7, torch.arange(16) % 5 + 1
    out = augment(batch, index, view, settings)
    for row in range(16):
        by_hand = _by_hand(batch[row].numpy(), int(index[row]), int(view[row]), settings)
        np.testing.assert_array_equal(out[row].numpy(), by_hand)


def test_a_batch_of_cifar_size_is_fast():
    batch, index = images(128, 32, 32, 3), torch.arange(128)
    settings = AugmentSettings(crop=4, flip=True, cutout=8)
    seconds = []
    for view in range(1, 21):
        start = time.perf_counter()
        augment(batch, index, torch.full((128,), view), settings)
        seconds.append(time.perf_counter() - start)
    # 3 ms is the goal on a quiet machine; the best of 20 tells it from the machine's other work.
    assert min(seconds) < 0.003
