"""Probe the experts of a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moist.evaluation import ExpertProbe, probe_experts
from moist.moe import only_expert
from moist.recipes.networks import Network, open_network
from moist.report import save_probe
from moist.routing import gate_weights
from moist.storage import write_json
from moist.types import UserError

__all__ = ["probe", "probe_network"]

BATCH = 512


def probe(folder: Path, *, layer: int = -1, split: str = "test", quiet: bool = False) -> Mapping[str, Any]:
    """Split a part of the data by the gate's routing, and score each expert alone on every part.

    Writes ``probe.json`` and the heat map ``probe.png`` into the run's folder.

    Args:
        folder: of a run of ``moist train-moe``.
        layer: which sparse layer; the others route as they do. -1 is the last.
        split: ``validation`` or ``test``.
        quiet: show no progress.

    Raises:
        UserError: the network is dense, routes softly, or has no such layer.
    """
    network = open_network(folder, quiet=quiet)
    found = probe_network(network, layer=layer, split=split)
    document = {
        "run": str(folder),
        "split": split,
        "layer": layer,
        "sizes": found.sizes.tolist(),
        "accuracy": [[None if np.isnan(value) else float(value) for value in row] for row in found.accuracy],
        "whole": found.whole.tolist(),
        "mixed": found.mixed,
        "own_mean": found.own_mean,
        "gate_accuracy": None if np.isnan(found.gate_accuracy) else found.gate_accuracy,
        "disagreement": found.disagreement,
    }
    write_json(folder / "probe.json", document)
    save_probe(found.accuracy, found.sizes, folder / "probe.png")
    return document


def probe_network(network: Network, *, layer: int = -1, split: str = "test") -> ExpertProbe:
    """Return the probe of one sparse layer; arguments and errors as :func:`probe`."""
    sparse, layers = network.settings.student.sparse, network.student.sparse_layers
    if sparse is None or sparse.router == "soft":
        raise UserError("probing needs experts that serve inputs one by one, got a dense or softly routed network")
    if not -len(layers) <= layer < len(layers):
        raise UserError(f"layer must be one of the {len(layers)} sparse layers, from 0, got {layer}; lower it")
    inputs = network.data.inputs(split)
    classes = []
    for expert in range(sparse.num_experts):
        with only_expert(layers[layer], expert):
            classes.append(network.logits(split).argmax(axis=1))
    mixed = network.logits(split).argmax(axis=1)
    own = _own_expert(network, inputs, layer % len(layers))
    return probe_experts(np.stack(classes), mixed, own, network.data.targets(split))


@torch.inference_mode()
def _own_expert(network: Network, inputs: Tensor, layer: int) -> np.ndarray:
    """Return, for each input (N,), the expert with the largest share of the gate's weight, summed over its tokens."""
    chosen = []
    for rows in torch.split(inputs, BATCH):
        _, facts = network.student.forward_facts(rows)
        weights = gate_weights(facts[layer].routing)
        chosen.append(_per_input(weights, rows).argmax(dim=1))
    result: np.ndarray = torch.cat(chosen).numpy()
    return result


def _per_input(weights_ME: Tensor, inputs: Tensor) -> Tensor:
    """Sum the weights of an input's tokens: only real tokens were routed, input after input."""
    count = len(inputs)
    if len(weights_ME) == count:
        return weights_ME
    if not inputs.is_floating_point():
        real = inputs != 0
        real[:, 0] = True
        owner = real.nonzero()[:, 0]
    else:
        owner = torch.arange(count).repeat_interleave(len(weights_ME) // count)
    return weights_ME.new_zeros(count, weights_ME.shape[1]).index_add(0, owner, weights_ME)
