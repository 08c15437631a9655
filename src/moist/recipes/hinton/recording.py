"""A teacher's soft targets as the mean over all the places that it may have seen an image in."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moist.config import load_config
from moist.data import Transform
from moist.progress import Advance
from moist.recipes.hinton.networks import NetworkSettings, encode, load_network, load_parts, run_in_parts, save_tensors
from moist.training import Job

__all__ = ["mean_over_places", "record_targets", "recording_job"]


def recording_job(name: str, teacher: Job, folder: Path, *, moved: bool = True) -> Job:
    """Return the job that leaves in ``folder`` what a finished teacher says of every training row.

    Args:
        name: of the job.
        teacher: the job of the teacher.
        folder: of the job.
        moved: record the mean over all places of an image; else what the teacher says of the image as it is.
    """
    payload = {"moist": version("moist"), "network": teacher.payload["network"], "teacher": str(teacher.folder)}
    if not moved:
        payload["reach"] = 0
    return Job(name, "moist.recipes.hinton.recording:record_targets", payload, folder, (teacher.name,))


def record_targets(payload: dict[str, Any], folder: Path, advance: Advance) -> dict[str, Any]:
    """Record a teacher's mean logits as ``signals.safetensors``, (1, N, C) as a network's own job does."""
    settings = load_config(NetworkSettings, payload["network"])
    splits, transform = load_parts(settings)
    teacher = load_network(settings.student, transform.input_shape, len(splits.train.classes), Path(payload["teacher"]))
    reach = payload.get("reach", settings.augment.crop)
    told = mean_over_places(teacher, encode(splits.train, transform), transform, reach, advance)
    save_tensors(folder / "signals.safetensors", {"logits": told[None]})
    return {}


def mean_over_places(
    teacher: nn.Module, encoded_NHWC: Tensor, transform: Transform, reach: int, advance: Advance
) -> Tensor:
    """Return a teacher's logits (N, C), averaged over the (2 reach + 1)² places of each image.

    Softened, this is the geometric mean of its softened probabilities, whatever the temperature.

    Args:
        teacher: in evaluation mode.
        encoded_NHWC: images, uint8.
        transform: how the teacher reads them.
        reach: pixels that an image is moved by, at most, up, down and to either side.
        advance: told of every place.
    """
    height, width = encoded_NHWC.shape[1:3]
    padded = F.pad(encoded_NHWC, (0, 0, reach, reach, reach, reach))
    places = [(down, right) for down in range(2 * reach + 1) for right in range(2 * reach + 1)]
    total = torch.zeros(())
    advance(0, total=len(places))
    for down, right in places:
        moved = padded[:, down : down + height, right : right + width].contiguous()
        total = total + run_in_parts(teacher, moved, transform)
        advance()
    return total / len(places)
