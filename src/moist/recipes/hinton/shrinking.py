"""A teacher's most important units as the start of a smaller network, the others' part in it refitted."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moist.config import load_config
from moist.progress import Advance
from moist.recipes.hinton.networks import NetworkSettings, encode, load_network, load_parts, run_in_parts, save_tensors
from moist.students import StudentSettings, create_student
from moist.training import Job

__all__ = ["shrink_into", "shrink_teacher", "shrinking_job"]

NUM_FITTED = 10_000  # training images, spread over all, on which units are judged and refitted
RIDGE = 1e-4  # of the mean square of a kept unit's activation


def shrinking_job(name: str, teacher: Job, student: StudentSettings, folder: Path) -> Job:
    """Return the job that leaves in ``folder`` a smaller network made of a finished teacher's units."""
    payload = {
        "moist": version("moist"),
        "network": teacher.payload["network"],
        "teacher": str(teacher.folder),
        "student": student.model_dump(mode="json", exclude_defaults=True),
    }
    return Job(name, "moist.recipes.hinton.shrinking:shrink_teacher", payload, folder, (teacher.name,))


def shrink_teacher(payload: dict[str, Any], folder: Path, advance: Advance) -> dict[str, Any]:
    """Shrink a teacher; leave the small network's weights, and what it says of the test part, in ``folder``."""
    settings = load_config(NetworkSettings, payload["network"])
    splits, transform = load_parts(settings)
    num_classes = len(splits.train.classes)
    teacher = load_network(settings.student, transform.input_shape, num_classes, Path(payload["teacher"]))
    student = create_student(load_config(StudentSettings, payload["student"]), transform.input_shape, num_classes)
    encoded = encode(splits.train, transform)
    images = encoded[:: max(1, len(encoded) // NUM_FITTED)]
    shrink_into(student, teacher, transform.to_tensor(images).flatten(1))
    advance(1, total=1)
    save_tensors(folder / "model.safetensors", dict(student.state_dict()))
    assert splits.test is not None
    told = run_in_parts(student.eval(), encode(splits.test, transform), transform)
    save_tensors(folder / "test.safetensors", {"logits": told})
    return {}


@torch.no_grad()
def shrink_into(student: nn.Module, teacher: nn.Module, inputs_ND: Tensor) -> None:
    """Make of a perceptron's most important units a narrower one of the same depth, in place.

    Layer by layer, those units are kept whose activation, times the weights that read it, has the largest mean square.
    The layer above reads the others through the kept ones: their activations are predicted by least squares.

    Args:
        student: ReLU layers, narrower than the teacher's.
        teacher: ReLU layers.
        inputs_ND: what the activations are measured on.
    """
    wide, narrow = _linear_layers(teacher), _linear_layers(student)
    hidden = inputs_ND
    num_inputs = inputs_ND.shape[1]
    predicts, offset = torch.eye(num_inputs), torch.zeros(num_inputs)  # all inputs are kept
    for layer, above, small in zip(wide, [*wide[1:], None], narrow, strict=True):
        weight, bias = layer.weight @ predicts.T, layer.bias + layer.weight @ offset
        if above is None:
            kept = torch.arange(len(bias))
        else:
            hidden = layer(hidden).relu()
            importance = hidden.square().mean(dim=0) * above.weight.square().sum(dim=0)
            kept = importance.topk(len(small.bias)).indices.sort().values
            predicts, offset = _prediction(hidden, kept)
        small.weight.copy_(weight[kept])
        small.bias.copy_(bias[kept])


def _prediction(hidden_NH: Tensor, kept_K: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (K, H) and an offset (H,) that predict all activations from the kept ones, by least squares."""
    mean_H = hidden_NH.mean(dim=0)
    centred = (hidden_NH - mean_H).double()
    moments_HK = centred.T @ centred[:, kept_K] / len(centred)
    own_KK = moments_HK[kept_K]
    ridge = RIDGE * own_KK.diagonal().mean()
    weights_KH = torch.linalg.solve(own_KK + ridge * torch.eye(len(kept_K)).double(), moments_HK.T).float()
    return weights_KH, mean_H - mean_H[kept_K] @ weights_KH


def _linear_layers(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]
