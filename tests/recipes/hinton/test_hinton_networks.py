"""Networks of Hinton's studies whose teachers are asked live, and views that signals are kept of."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from moist.data import AugmentSettings, augment
from moist.recipes.hinton.networks import (
    LiveTargets,
    NetworkSettings,
    encode,
    load_parts,
    log_mean_probabilities,
    train_network,
)
from moist.students import StudentSettings, create_student
from moist.types import Batch

SHAPE = {"family": "resnet", "width": 2, "stem_stride": 2}
PLAIN = {"data": {"name": "digits", "limit": 200}, "whole": False, "student": SHAPE, "training": {"epochs": 2}}
MOVED = {"crop": 1, "flip": True}


def train(folder, teachers=(), **changes):
    payload = {"network": {**PLAIN, **changes}, "teachers": [str(teacher) for teacher in teachers]}
    return train_network(payload, folder, lambda *args, **kwargs: None)


def restored(folder, transform):
    student = create_student(StudentSettings(**SHAPE), transform.input_shape, 10)
    student.load_state_dict(load_file(folder / "model.safetensors"))
    return student.eval()


def test_live_teachers_speak_of_the_very_inputs_of_a_batch(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for seed, folder in enumerate(folders):
        train(folder, seed=seed)
    _, transform = load_parts(NetworkSettings(**PLAIN))
    inputs = torch.randn(3, *transform.input_shape.shape)
    batch = Batch(torch.tensor([0, 1, 2]), torch.tensor([7, 8, 9]), inputs, None)
    one, two = (restored(folder, transform)(inputs) for folder in folders)
    shape = (StudentSettings(**SHAPE), transform.input_shape, 10)
    torch.testing.assert_close(LiveTargets(folders[:1], *shape)(batch).logits, one)
    both = LiveTargets(folders, *shape)(batch).logits
    torch.testing.assert_close(both, log_mean_probabilities([one, two]))
    assert not both.requires_grad


def test_a_live_teacher_teaches_and_stays_as_it_is(tmp_path):
    train(tmp_path / "teacher", training={"epochs": 20, "batch_size": 32, "learning_rate": 0.02})
    before = load_file(tmp_path / "teacher" / "model.safetensors")
    taught = {
        "rows": {"fraction": 0.5},
        "training": {"epochs": 40, "batch_size": 32, "learning_rate": 0.02},
        "augment": MOVED,
        "loss": {"temperature": 4.0, "hard_weight": 0.0},
        "seed": 1,
    }
    found = train(tmp_path / "student", [tmp_path / "teacher"], live=SHAPE, **taught)
    # The first loss is that of weights drawn by chance; what follows the teacher falls well below it.
    assert found["history"][-1]["loss"] < 0.6 * found["history"][0]["loss"]
    after = load_file(tmp_path / "teacher" / "model.safetensors")
    assert all(torch.equal(after[name], before[name]) for name in before)
    student = load_file(tmp_path / "student" / "model.safetensors")
    assert set(student) == set(before)


def test_signals_are_kept_of_views_that_the_network_was_not_trained_on(tmp_path):
    train(tmp_path, signals=True, signal_views=2, signal_augment=MOVED)
    splits, transform = load_parts(NetworkSettings(**PLAIN))
    told = load_file(tmp_path / "signals.safetensors")["logits"]
    encoded = encode(splits.train, transform)
    assert told.shape == (3, len(encoded), 10)
    index = torch.arange(len(encoded))
    moved = augment(encoded, index, torch.full_like(index, 2), AugmentSettings(**MOVED))
    with torch.no_grad():
        expected = restored(tmp_path, transform)(transform.to_tensor(moved))
    torch.testing.assert_close(told[2], expected)
    assert not torch.equal(told[1], told[0])
