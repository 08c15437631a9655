"""Distilling one student."""

import pytest
import torch
from task_examples import example, linear, losses_of_two_steps
from torch.nn import functional as F

from moist.losses import dist_loss, dkd_loss, kd_loss, standardize_logits
from moist.tasks import DistillTask, LossSettings

KINDS = [
    LossSettings(),
    LossSettings(standardize=True),
    LossSettings(kind="dkd"),
    LossSettings(kind="dist"),
    LossSettings(hard_weight=0),
    LossSettings(hard_weight=1),
]


@pytest.mark.parametrize("settings", KINDS, ids=str)
@pytest.mark.parametrize("labels", [True, False])
def test_one_step_reduces_the_loss(settings, labels):
    batch, signals = example(labels=labels)
    before, after = losses_of_two_steps(DistillTask(linear(), signals, settings), batch)
    assert after < before


def test_the_loss_is_the_weighted_sum_of_its_parts():
    batch, signals = example()
    student = linear()
    values = DistillTask(student, signals, LossSettings(temperature=2, hard_weight=0.25))(batch, 0.5)
    logits = student(batch.inputs)
    soft, hard = kd_loss(logits, signals(batch).logits, 2), F.cross_entropy(logits, batch.target)
    torch.testing.assert_close(values["loss"], 0.75 * soft + 0.25 * hard)
    torch.testing.assert_close(values["accuracy"], (logits.argmax(1) == batch.target).float().mean())


def test_without_labels_the_teacher_alone_counts():
    batch, signals = example(labels=False)
    student = linear()
    values = DistillTask(student, signals, LossSettings(hard_weight=0.25))(batch, 0.5)
    assert values.keys() == {"loss", "agreement"}
    logits, teacher = student(batch.inputs), signals(batch).logits
    torch.testing.assert_close(values["loss"], kd_loss(logits, teacher, 4.0))
    assert values["agreement"] == (logits.argmax(dim=1) == teacher.argmax(dim=1)).float().mean()


def test_a_student_that_equals_its_teacher_has_nothing_to_learn():
    batch, _ = example(labels=False)
    student = linear()
    for settings in (
        LossSettings(),
        LossSettings(standardize=True),
        LossSettings(kind="dkd"),
        LossSettings(kind="dist"),
    ):
        task = DistillTask(student, lambda asked: type("Signal", (), {"logits": student(asked.inputs)}), settings)
        assert task(batch, 0.5)["loss"].item() == pytest.approx(0, abs=1e-5)


def test_standardised_logits_do_not_see_the_scale():
    batch, signals = example(labels=False)
    student = linear()
    value = DistillTask(student, signals, LossSettings(standardize=True))(batch, 0.5)["loss"]
    expected = kd_loss(standardize_logits(student(batch.inputs)), standardize_logits(10 * signals(batch).logits), 4.0)
    torch.testing.assert_close(value, expected)


def test_dist_is_the_relation_loss():
    batch, signals = example(labels=False)
    student = linear()
    value = DistillTask(student, signals, LossSettings(kind="dist", temperature=2))(batch, 0.5)["loss"]
    torch.testing.assert_close(value, dist_loss(student(batch.inputs), signals(batch).logits, 2))


@pytest.mark.parametrize("labels", [True, False])
def test_dkd_warms_up_over_the_first_tenth(labels):
    batch, signals = example(labels=labels)
    student = linear()
    task = DistillTask(student, signals, LossSettings(kind="dkd", hard_weight=0, beta=3))
    target = signals(batch).logits.argmax(1)
    whole = dkd_loss(student(batch.inputs), signals(batch).logits, target, 4.0, beta=3)
    assert task(batch, 0.0)["loss"].item() == 0
    torch.testing.assert_close(task(batch, 0.05)["loss"], 0.5 * whole)
    torch.testing.assert_close(task(batch, 0.9)["loss"], whole)


def test_the_teacher_is_asked_for_the_very_batch():
    batch, signals = example()
    asked = []

    def remembering(one):
        asked.append(one)
        return signals(one)

    DistillTask(linear(), remembering, LossSettings())(batch, 0.0)
    assert len(asked) == 1
    assert asked[0] is batch
