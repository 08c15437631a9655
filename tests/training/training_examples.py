"""A real student on real digits, small enough to train for a few steps in a test."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from moist.data import InputShape
from moist.students import StudentSettings, create_student
from moist.types import Batch

STEPS_PER_EPOCH = 4
BATCH_SIZE = 16


class Digits:
    """Batches of scikit-learn's digits; the epoch's number alone decides the order."""

    def __init__(self):
        inputs, target = load_digits(return_X_y=True)
        self.inputs = torch.from_numpy(inputs).float().view(-1, 1, 8, 8) / 16
        self.target = torch.from_numpy(target)

    def __len__(self):
        return STEPS_PER_EPOCH

    def epoch(self, epoch):
        order = torch.randperm(len(self.inputs), generator=torch.Generator().manual_seed(epoch))
        for rows in order[: STEPS_PER_EPOCH * BATCH_SIZE].split(BATCH_SIZE):
            yield Batch(rows, torch.zeros_like(rows), self.inputs[rows], self.target[rows])


class LabelTask(nn.Module):
    """Learn the labels; dropout and batch normalisation make it depend on random numbers and on hidden state."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        shape = InputShape("vision", (1, 8, 8))
        student = create_student(StudentSettings(family="resnet", width=2), shape, 10)
        self.network = nn.Sequential(nn.Dropout(0.2), student)

    def forward(self, batch, progress):
        logits = self.network(batch.inputs).float()
        loss = nn.functional.cross_entropy(logits, batch.target)
        accuracy = (logits.argmax(1) == batch.target).float().mean()
        return {"loss": loss, "accuracy": accuracy, "progress": torch.tensor(progress)}
