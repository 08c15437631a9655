"""Mixes of two training images, of which a live teacher is asked."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from moist.data import Loader
from moist.recipes.hinton.mixing import MixedImages, mixed, side_weights
from moist.recipes.hinton.networks import LiveTargets, NetworkSettings, load_parts, train_network
from moist.students import StudentSettings
from moist.types import Batch

SHAPE = {"family": "mlp", "width": 8, "depth": 2}
DATA = {"data": {"name": "digits", "limit": 200}, "whole": False, "student": SHAPE, "training": {"epochs": 10}}
TRAINING = {"epochs": 3, "batch_size": 32, "precision": "bfloat16"}


@pytest.fixture(scope="module")
def images():
    """Make batches of images as they are."""
    splits, transform = load_parts(NetworkSettings(**DATA))
    return Loader(splits.train, transform, batch_size=50, seed=3)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    train_network({"network": DATA, "teachers": []}, folder, lambda *a, **k: None)
    return folder


def test_mixes_by_hand():
    inputs = torch.tensor([[[[4.0, 4.0]]], [[[8.0, 8.0]]], [[[0.0, 0.0]]]])
    batch = Batch(torch.arange(3), torch.zeros(3), inputs, torch.tensor([0, 1, 2]))
    found = mixed(batch, torch.tensor([[[0.25, 0.25]], [[1.0, 0.0]], [[1.0, 1.0]]]))
    # A quarter of the first image and three quarters of the one before it, the last; the second's left half beside the
    # first's right half; the third as it is.
    assert found.inputs.tolist() == [[[[1.0, 1.0]]], [[[8.0, 4.0]]], [[[0.0, 0.0]]]]
    assert found.target is None
    assert found.index.tolist() == [0, 1, 2]


def test_sides_of_a_line_by_hand():
    angle = torch.tensor([0.0, torch.pi / 2, torch.pi / 2])
    found = side_weights(angle, torch.tensor([0.0, 0.0, -0.3]), 2, 4)
    assert found.int().tolist() == [
        [[0, 0, 0, 0], [1, 1, 1, 1]],  # down from the middle
        [[0, 0, 1, 1], [0, 0, 1, 1]],  # to the right of it
        [[0, 1, 1, 1], [0, 1, 1, 1]],  # from 0.3 left of it: pixels' centres are at -0.375, -0.125, 0.125, 0.375
    ]


def test_half_of_the_mixes_are_cut(images):
    pairs = [p for k in range(20) for p in zip(images.epoch(k), MixedImages(images, 1.0, 0).epoch(k), strict=True)]
    shares = []
    for plain, mix in pairs:
        other = plain.inputs.roll(1, 0)
        from_either = ((mix.inputs == plain.inputs) | (mix.inputs == other)).flatten(1).all(dim=1)
        shares.append(from_either.double().mean())
    assert torch.stack(shares).mean().item() == pytest.approx(0.5, abs=0.03)


def test_mixes_depend_on_seed_and_epoch_alone(images):
    def inputs(seed, epoch):
        return torch.cat([batch.inputs for batch in MixedImages(images, 0.7, seed).epoch(epoch)])

    torch.testing.assert_close(inputs(0, 4), inputs(0, 4), rtol=0, atol=0)
    assert not torch.equal(inputs(0, 4), inputs(1, 4))
    assert not torch.equal(inputs(0, 4), inputs(0, 5))


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_given_share_of_the_images_is_mixed(images, share):
    epochs = [(images.epoch(k), MixedImages(images, share, 0).epoch(k)) for k in range(20)]
    pairs = [pair for plain, mixes in epochs for pair in zip(plain, mixes, strict=True)]
    assert len(pairs) == 20 * len(images)
    differs = torch.cat([(plain.inputs != mix.inputs).flatten(1).any(dim=1) for plain, mix in pairs])
    assert differs.double().mean().item() == pytest.approx(share, abs=0.03)  # of 3,000 images or more


def test_the_teacher_is_asked_about_the_mix_itself(images, teacher):
    _, transform = load_parts(NetworkSettings(**DATA))
    live = LiveTargets([teacher], StudentSettings(**SHAPE), transform.input_shape, 10)
    plain, mix = next(images.epoch(0)), next(MixedImages(images, 1.0, 0).epoch(0))
    expected = live.teachers[0](mix.inputs)
    told = live(mix).logits
    torch.testing.assert_close(told, expected.detach())
    between = live(plain).logits.roll(1, 0).lerp(live(plain).logits, 0.5)
    assert (told - between).abs().max() > 0.1  # and its answers are not mixed


def test_weights_cast_once_say_what_autocast_says(images, teacher):
    _, transform = load_parts(NetworkSettings(**DATA))
    arguments = ([teacher], StudentSettings(**SHAPE), transform.input_shape, 10)
    batch = next(images.epoch(0))
    with torch.autocast("cpu", torch.bfloat16):
        told = [LiveTargets(*arguments, precision)(batch).logits for precision in ("float32", "bfloat16")]
    torch.testing.assert_close(told[0], told[1], rtol=0, atol=0)


def test_a_resumed_student_of_mixes_ends_with_the_same_weights(tmp_path, teacher):
    network = DATA | {"training": TRAINING, "mixed": 0.7, "live": SHAPE, "seed": 1}
    payload = {"network": network, "teachers": [str(teacher)]}
    train_network(payload, tmp_path / "unbroken", lambda *a, **k: None)
    steps = []

    def interrupt(done: float = 1, note: str = "", total: float | None = None) -> None:
        if total is None:
            steps.append(note)
        if len(steps) == 6:  # in the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_network(payload, tmp_path / "resumed", interrupt)
    assert not (tmp_path / "resumed" / "model.safetensors").exists()
    train_network(payload, tmp_path / "resumed", lambda *a, **k: None)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("unbroken", "resumed"))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


def test_mixes_need_a_live_teacher():
    with pytest.raises(ValueError, match=r"mixed must be 0 without live teachers.*got 0\.5; set it to 0 or give live"):
        NetworkSettings(**DATA, mixed=0.5)
