import time

import numpy as np
import pytest
import torch

from moist.data import AugmentSettings, augment
from moist.data.augment import mix
from moist.types import UserError

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


MIXED = AugmentSettings(crop=1, flip=True, cutmix=0.6)


def _mixed_by_hand(source, index, view, settings):
    """Cover a box of one image by another one's, pixel by pixel; return it and whether it was chosen."""
    out = _by_hand(source[index], index, view, settings)
    height, width, _ = out.shape
    draw = [int(mix(np.array([index]), view, number)[0]) for number in range(5, 10)]
    if draw[0] / 2**63 >= settings.cutmix:
        return out, False
    row, side = draw[1] % len(source), (draw[2] / 2**63) ** 0.5
    other = _by_hand(source[row], row, view, settings)
    for y in range(height):
        for x in range(width):
            if 2 * abs(y - draw[3] % height) < side * height and 2 * abs(x - draw[4] % width) < side * width:
                out[y, x] = other[y, x]
    return out, True


def test_cutmix_covers_a_box_of_a_share_of_the_views():
    source = images(40, 7, 5, 3)
    index, view = torch.arange(40).repeat(3), torch.arange(120) % 4
    out = augment(source[index], index, view, MIXED, source.numpy())
    chosen = 0
    for row in range(120):
        if view[row] == 0:
            assert torch.equal(out[row], source[index[row]])
            continue
        by_hand, mixed = _mixed_by_hand(source.numpy(), int(index[row]), int(view[row]), MIXED)
        np.testing.assert_array_equal(out[row].numpy(), by_hand)
        chosen += mixed
    assert 0.45 < chosen / 90 < 0.75


def test_a_mixed_image_does_not_depend_on_the_batch_either():
    source = images(12)
    index, view = torch.arange(12), torch.arange(12) % 3 + 1
    together = augment(source, index, view, MIXED, source.numpy())
    for row in range(12):
        one = slice(row, row + 1)
        assert torch.equal(augment(source[one], index[one], view[one], MIXED, source.numpy())[0], together[row])


def test_cutmix_without_other_images_is_refused():
    index = torch.arange(6)
    with pytest.raises(UserError, match=r"cutmix=0\.6 shows parts of other images, got none; give the data set's"):
        augment(images(), index, index, MIXED)


def test_boxes_cover_half_of_an_image_at_most_on_average():
    black, white = np.zeros((1, 32, 32, 1), np.uint8), np.full((1, 32, 32, 1), 255, np.uint8)
    index, view = torch.zeros(2000, dtype=torch.int64), torch.arange(2000) + 1
    settings = AugmentSettings(cutmix=1.0)
    covered = augment(torch.from_numpy(black).repeat(2000, 1, 1, 1), index, view, settings, white).float() / 255
    shares = covered.mean(dim=(1, 2, 3))
    # A box would cover half of an image on average if it always lay inside; many reach over an edge.
    assert 0.25 < shares.mean() < 0.4
    assert shares.max() > 0.9
    assert shares.min() < 0.01


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
