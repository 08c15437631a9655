"""Teaching a router which domain an input belongs to."""

import numpy as np
import pytest
import torch
from task_examples import example, linear, losses_of_two_steps
from torch import nn
from torch.nn import functional as F

from moist.tasks import RouterTask
from moist.training import TrainingSettings, fit
from moist.types import Partition, TeacherSignal

CLASS_TO_DOMAIN = np.array([0, 1, 0, 1])


def class_domains(batch):
    target = np.zeros(len(batch.index), np.int64) if batch.target is None else batch.target.numpy()
    return Partition(2, CLASS_TO_DOMAIN[target], CLASS_TO_DOMAIN)


def example_domains(batch, num_domains=3):
    return Partition(num_domains, (np.arange(len(batch.index)) % num_domains).astype(np.int64))


@pytest.mark.parametrize("labels", [True, False])
def test_one_step_reduces_the_loss_on_class_domains(labels):
    batch, signals = example(labels=labels)
    before, after = losses_of_two_steps(RouterTask(linear(out=2), class_domains(batch), signals), batch)
    assert after < before


def test_one_step_reduces_the_loss_on_example_domains():
    batch, signals = example()
    before, after = losses_of_two_steps(RouterTask(linear(out=3), example_domains(batch), signals), batch)
    assert after < before


def test_the_soft_target_of_class_domains_worked_by_hand():
    # At T = 2 the teacher says (0.4, 0.3, 0.2, 0.1): domain 0 holds classes 0 and 2, so (0.6, 0.4).
    batch, _ = example(rows=1)
    teacher = 2 * torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    router = linear(out=2)
    task = RouterTask(router, class_domains(batch), lambda asked: TeacherSignal(teacher), temperature=2)
    expected = F.cross_entropy(router(batch.inputs), torch.tensor([[0.6, 0.4]]))
    torch.testing.assert_close(task(batch, 0.5)["loss"], expected)


def test_example_domains_need_no_teacher():
    batch, _ = example()
    partition = example_domains(batch)
    router = linear(out=3)

    def silent(asked):
        raise AssertionError("nobody needs to ask")

    values = RouterTask(router, partition, silent)(batch, 0.5)
    domain = torch.from_numpy(partition.assignment)
    torch.testing.assert_close(values["loss"], F.cross_entropy(router(batch.inputs), domain))
    torch.testing.assert_close(values["accuracy"], (router(batch.inputs).argmax(1) == domain).float().mean())


def test_the_domain_is_that_of_the_row_and_not_of_its_place_in_the_batch():
    batch, signals = example()
    partition = example_domains(batch)
    router = linear(out=3)
    task = RouterTask(router, partition, signals)
    part = torch.tensor([7, 3, 11])
    few = type(batch)(batch.index[part], batch.view[part], batch.inputs[part], batch.target[part])
    expected = F.cross_entropy(router(few.inputs), torch.tensor([7 % 3, 3 % 3, 11 % 3]))
    torch.testing.assert_close(task(few, 0.5)["loss"], expected)


def test_the_domains_are_no_part_of_what_is_saved():
    batch, signals = example()
    assert RouterTask(linear(out=2), class_domains(batch), signals).state_dict().keys() == {
        "router.weight",
        "router.bias",
    }


class OneBatch:
    def __init__(self, batch):
        self.batch = batch

    def __len__(self):
        return 1

    def epoch(self, epoch):
        return iter([self.batch])


@pytest.mark.parametrize("partition", [class_domains, example_domains])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_router_learns_its_domains(partition, precision):
    batch, signals = example()
    domains = partition(batch)
    # No line separates these domains, so the router has a hidden layer.
    router = nn.Sequential(linear(out=64, seed=1), nn.ReLU(), linear(64, domains.num_domains, seed=2))
    settings = TrainingSettings(epochs=150, learning_rate=0.02, precision=precision)
    history = fit(RouterTask(router, domains, signals), OneBatch(batch), settings, seed=0)
    assert history[0]["accuracy"] < 0.8
    assert history[-1]["accuracy"] > 0.9
