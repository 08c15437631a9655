"""Joint training of a router and its specialists."""

import pytest
import torch
from task_examples import NUM_CLASSES, example, linear, losses_of_two_steps
from torch import nn

from moist.losses import expected_nll, kd_loss, load_balancing_loss, mixture_nll
from moist.mixture import TrainableMixture
from moist.tasks import DistillTask, JointSettings, JointTask, LossSettings
from moist.types import Batch, TeacherSignal


def mixture_of(members=3, width=6, classes=NUM_CLASSES, sparse=False):
    parts = [linear(width, classes, seed=10 + k) for k in range(members)]
    return TrainableMixture(nn.Identity(), linear(width, members, seed=9), parts, "inputs", sparse=sparse)


def joint_task(signals, joint=None, loss=None, mixture=None, active=None):
    mixture = mixture_of(sparse=active is not None) if mixture is None else mixture
    return JointTask(mixture, signals, loss or LossSettings(), joint or JointSettings(), active)


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("progress", [0.0, 0.5, 0.99])
def test_one_step_reduces_the_loss(labels, progress):
    batch, signals = example(labels=labels)
    before, after = losses_of_two_steps(joint_task(signals), batch, progress)
    assert after < before


def test_values_without_labels():
    batch, signals = example(labels=False)
    task = joint_task(signals)
    values = task(batch, 0.5)
    assert values.keys() == {"loss", "balance", "agreement"}
    scores, logits = task.mixture.forward_all(batch.inputs)
    answer = logits[torch.arange(len(scores)), scores.argmax(dim=1)].argmax(dim=1)
    assert values["agreement"] == (answer == signals(batch).logits.argmax(dim=1)).float().mean()


def test_the_loss_is_the_weighted_sum_of_its_parts():
    batch, signals = example()
    task = joint_task(signals, JointSettings(balance=0.3, sharpen=0.8), LossSettings(temperature=2, hard_weight=0.25))
    values = task(batch, 0.5)
    gate, logits = task.mixture.forward_all(batch.inputs)
    target = (signals(batch).logits / 2).softmax(1)
    labels = nn.functional.one_hot(batch.target, NUM_CLASSES).float()
    entropy = -4 * (target * target.log()).sum(1).mean()
    # At half of the training the sharpness is 0.8 / 2.
    soft = 0.6 * mixture_nll(gate, logits, target, 2) + 0.4 * expected_nll(gate, logits, target, 2) - entropy
    hard = 0.6 * mixture_nll(gate, logits, labels) + 0.4 * expected_nll(gate, logits, labels)
    balance = load_balancing_loss(gate.softmax(1), gate.argmax(1, keepdim=True))
    torch.testing.assert_close(values["loss"], 0.75 * soft + 0.25 * hard + 0.3 * balance)
    torch.testing.assert_close(values["balance"], balance)


@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_equal_specialists_are_trained_like_one_student(progress):
    batch, signals = example(labels=False)
    student = linear()
    parts = [linear() for _ in range(3)]
    mixture = TrainableMixture(nn.Identity(), linear(out=3), parts, "inputs")
    joint = joint_task(signals, JointSettings(balance=0), mixture=mixture)(batch, progress)["loss"]
    torch.testing.assert_close(joint, kd_loss(student(batch.inputs), signals(batch).logits))
    torch.testing.assert_close(joint, DistillTask(student, signals, LossSettings())(batch, progress)["loss"])


@pytest.mark.parametrize("progress", [0.0, 0.99])
def test_the_task_gradient_reaches_the_gate_and_every_specialist(progress):
    batch, signals = example()
    task = joint_task(signals, JointSettings(balance=0))
    task(batch, progress)["loss"].backward()
    assert task.mixture.gate.weight.grad.abs().max() > 1e-3
    for parameter in task.mixture.specialists.parameters():
        assert (parameter.grad.flatten(1).abs().amax(1) > 1e-4).all()


def test_the_accuracy_is_that_of_the_deployed_choice():
    batch, signals = example()
    task = joint_task(signals)
    deployed = task.mixture.deploy()(batch.inputs).probabilities.argmax(1)
    assert task(batch, 0.5)["accuracy"].item() == pytest.approx((deployed == batch.target).float().mean().item())


def test_drawn_specialists_train_the_gate_and_only_those_drawn_are_trained():
    batch, signals = example(rows=1)
    task = joint_task(signals, JointSettings(balance=0), active=2)
    task(batch, 0.5)["loss"].backward()
    assert task.mixture.gate.weight.grad.abs().max() > 1e-4
    trained = [member.weight.grad is not None for member in task.mixture.specialists.unstack()]
    assert sum(trained) == 2


def test_drawing_all_specialists_is_the_whole_loss():
    batch, signals = example()
    mixture = mixture_of(sparse=True)
    drawn = joint_task(signals, mixture=mixture, active=3)(batch, 0.5)
    whole = joint_task(signals, mixture=mixture)(batch, 0.5)
    torch.testing.assert_close(drawn["loss"], whole["loss"])


def planted(rows, seed):
    """Two regions, told apart by the first coordinate, in which the second one means opposite classes."""
    inputs = torch.randn(rows, 2, generator=torch.Generator().manual_seed(seed))
    target = ((inputs[:, 0] > 0) ^ (inputs[:, 1] > 0)).long()
    index = torch.arange(rows)
    logits = 6 * nn.functional.one_hot(target, 2).float()
    return Batch(index, torch.zeros_like(index), inputs, target), lambda asked: TeacherSignal(logits[asked.index])


def test_a_planted_division_of_labour_is_found():
    batch, signals = planted(512, seed=0)
    mixture = mixture_of(members=2, width=2, classes=2)
    task = joint_task(signals, loss=LossSettings(temperature=1), mixture=mixture)
    test, _ = planted(1000, seed=1)

    def accuracy():
        chosen = mixture.deploy()(test.inputs).probabilities.argmax(1)
        return (chosen == test.target).float().mean().item()

    start, steps = accuracy(), 250
    optimizer = torch.optim.Adam(task.parameters(), lr=0.05)
    for step in range(steps):
        optimizer.zero_grad()
        task(batch, step / steps)["loss"].backward()
        optimizer.step()
    # One linear model gets half of them right, whatever it does.
    assert start < 0.8
    assert accuracy() > 0.95


@pytest.mark.parametrize("hard_weight", [0.0, 0.25])
def test_an_early_exit_is_trained_as_a_student_and_the_others_as_a_mixture(hard_weight):
    batch, signals = example()
    loss, joint, mixture = (
        LossSettings(temperature=2, hard_weight=hard_weight),
        JointSettings(balance=0.3),
        mixture_of(),
    )
    values = JointTask(mixture, signals, loss, joint, early_exit=True)(batch, 0.5)
    scores, logits = mixture.forward_all(batch.inputs)
    others = FixedMixture(scores[:, 1:], logits[:, 1:])
    alone = DistillTask(FixedStudent(logits[:, 0]), signals, loss)(batch, 0.5)["loss"]
    together = JointTask(others, signals, loss, joint)(batch, 0.5)
    torch.testing.assert_close(values["loss"], alone + together["loss"])
    torch.testing.assert_close(values["balance"], together["balance"])


class FixedMixture(nn.Module):
    def __init__(self, scores, logits):
        super().__init__()
        self.outputs = scores, logits

    def forward_all(self, _):
        return self.outputs


class FixedStudent(nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, _):
        return self.logits
