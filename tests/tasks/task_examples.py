"""Batches and teachers for tasks."""

import torch
from torch import nn

from moist.types import Batch, TeacherSignal

NUM_CLASSES = 4


def example(rows=32, width=6, labels=True, seed=0):
    """Return a batch, and the signals of a linear teacher whose most probable class is the label."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, width, generator=generator)
    teacher = 3 * inputs @ torch.randn(width, NUM_CLASSES, generator=generator)
    index = torch.arange(rows)
    batch = Batch(index, torch.zeros_like(index), inputs, teacher.argmax(1) if labels else None)
    return batch, lambda asked: TeacherSignal(teacher[asked.index])


def linear(width=6, out=NUM_CLASSES, seed=1):
    torch.manual_seed(seed)
    return nn.Linear(width, out)


def losses_of_two_steps(task, batch, progress=0.5, rate=0.05):
    """Return the loss before and after one step along the gradient."""
    before = task(batch, progress)["loss"]
    before.backward()
    with torch.no_grad():
        for parameter in task.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad
    return before.item(), task(batch, progress)["loss"].item()
