"""One rank of a training that torchrun starts: rank_program.py FOLDER STEPS. Leaves its weights and history there."""

import sys
from pathlib import Path

import torch
from torch import nn
from training_examples import Digits

from moist.training import TrainingSettings, fit, joined_ranks


class PlainTask(nn.Module):
    """Learn the labels, without anything that depends on who else is in a batch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

    def forward(self, batch, progress):
        return {"loss": nn.functional.cross_entropy(self.network(batch.inputs), batch.target)}


def train(folder, steps):
    task = PlainTask()
    settings = TrainingSettings(epochs=3, optimizer="sgd", learning_rate=0.1)
    history = fit(task, Digits(), settings, seed=0, checkpoint=folder / "checkpoint.pt", max_steps=steps)
    return task.state_dict(), history


if __name__ == "__main__":
    place = Path(sys.argv[1])
    with joined_ranks() as ranks:
        torch.save(train(place, int(sys.argv[2])), place / f"rank-{ranks.rank}.pt")
