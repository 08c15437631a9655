"""A teacher's mean over the places of an image, by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from moist.recipes.hinton.networks import NetworkSettings, network_job, read_signals, train_network
from moist.recipes.hinton.recording import mean_over_places, record_targets, recording_job


class Centre(nn.Module):
    """A teacher that says what the middle pixel of a 3 × 3 image is, and the sum of all."""

    def forward(self, images):
        return torch.stack([images[:, 1, 1, 0], images.sum(dim=(1, 2, 3))], dim=1)


def test_the_mean_is_over_all_places():
    image = torch.zeros(1, 3, 3, 1, dtype=torch.uint8)
    image[0, 0, 1, 0] = 18
    transform = SimpleNamespace(to_tensor=lambda encoded: encoded.float())
    steps = []

    def advance(done=1, note="", total=None):
        steps.append((done, total))

    told = mean_over_places(Centre(), image, transform, 1, advance)
    # Of nine places one brings the bright pixel to the middle, and the three where it is moved up lose it.
    torch.testing.assert_close(told, torch.tensor([[18 / 9, 18 * 6 / 9]]))
    assert steps == [(0, 9)] + 9 * [(1, None)]


@pytest.mark.slow
def test_an_image_as_it_is(tmp_path):
    settings = NetworkSettings(
        data={"name": "mnist", "limit": 300},
        student={"family": "mlp", "width": 8, "depth": 1},
        training={"epochs": 1},
        augment={"crop": 2},
        signals=True,
    )
    teacher = network_job("teacher", settings, tmp_path / "teacher")
    train_network(teacher.payload, teacher.folder, lambda *args, **kwargs: None)
    told = {}
    for moved in (False, True):
        job = recording_job(f"said-{moved}", teacher, tmp_path / f"said-{moved}", moved=moved)
        assert job.after == ("teacher",)
        record_targets(job.payload, job.folder, lambda *args, **kwargs: None)
        told[moved] = read_signals(job.folder)
    torch.testing.assert_close(told[False], read_signals(teacher.folder))
    assert (told[True] - told[False]).abs().max() > 0.1
