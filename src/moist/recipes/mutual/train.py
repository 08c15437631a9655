"""The jobs of the studies: train one network, and measure a chosen one on the test part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from moist.evaluation import count_cost
from moist.progress import Advance
from moist.recipes.networks import (
    CHECKPOINT,
    Network,
    NetworkData,
    NetworkSettings,
    load_data,
    open_network,
    save_network,
)
from moist.recipes.probe import probe_network
from moist.recipes.train_moe import make_task
from moist.students import Student, width_for
from moist.training import fit

__all__ = ["measure_on_test", "train_network"]

Payload = dict[str, Any]
EXAMPLES = 64  # inputs to count the cost on: as many experts serve any of them


def train_network(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Train one network, keep it in ``folder``, and score it on the validation part.

    The payload holds ``settings`` of a network with experts, and ``dense``: whether to train in its place the dense
    network of the same family whose active cost is the next that is no smaller.
    """
    data = load_data(NetworkSettings.model_validate(payload["settings"]), quiet=True)
    if payload["dense"]:
        data = _dense(data)
    settings, student = data.settings, data.create()
    task = make_task(settings, student)
    history = fit(
        task, data.loader(), settings.training, seed=settings.seed, checkpoint=folder / CHECKPOINT, advance=advance
    )
    save_network(folder, settings, student)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return {
        **score(Network(data, student.eval()), "validation"),
        "train_accuracy": history[-1]["accuracy"],
        "train_rows": len(data.splits.train),
    }


def _dense(data: NetworkData) -> NetworkData:
    """Return the same data for a dense network that costs what the one with experts does, the router included."""
    student, example = data.settings.student, data.inputs("train", EXAMPLES)
    target = count_cost(data.create(), example).macs
    dense = width_for(
        student.model_copy(update={"sparse": None}),
        data.transform.input_shape,
        data.num_classes,
        macs=target,
        example=example,
    )
    return replace(data, settings=data.settings.model_copy(update={"student": dense, "mutual_distillation": None}))


def score(network: Network, split: str) -> dict[str, Any]:
    """Return accuracy, log loss and calibration error of a part, and of a network with experts what probing tells."""
    measured = network.measure(split)
    found = {**measured, "accuracy": measured["accuracy"]["mean"]}
    if network.settings.student.sparse is None:
        return found
    probe = probe_network(network, split=split)
    return {
        **found,
        "own_part": probe.own_mean,
        "own": [_known(value) for value in probe.own],
        "whole": float(probe.whole.mean()),
        "sizes": probe.sizes.tolist(),
        "gate_accuracy": _known(probe.gate_accuracy),
        "disagreement": probe.disagreement,
    }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def measure_on_test(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Score a trained network on the test part, and count what an input costs it in training.

    The payload names the network's ``folder`` and the ``key`` of the job that trained it.
    """
    del folder, advance
    network = open_network(Path(payload["folder"]), quiet=True)
    mutual = network.settings.mutual_distillation
    every = mutual is not None and mutual.among == "all"
    example = network.data.inputs("train", EXAMPLES)
    forward: nn.Module = _EveryExpert(network.student) if every else network.student
    return {**score(network, "test"), "forward_macs_in_training": count_cost(forward, example).macs}


class _EveryExpert(nn.Module):
    """A network as mutual distillation trains it: all experts read every input."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, inputs: Tensor) -> Tensor:
        return self.student.forward_facts(inputs, "all")[0]
