"""Any ``nn.Module`` as a teacher, by ``module:function`` and a checkpoint."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from moist.data import DataSplits, find_file
from moist.evaluation import count_cost
from moist.importing import import_callable
from moist.storage import content_key
from moist.teachers.checkpoint import load_checkpoint
from moist.teachers.labels import check_num_outputs, match_classes
from moist.teachers.running import hash_weights, mixed_precision, run_in_batches, torch_threads
from moist.teachers.settings import TeacherSettings
from moist.types import TeacherSignal, UserError

__all__ = ["TorchTeacher"]


class TorchTeacher:
    """A torch module that reads images or tables.

    Images reach the module as float32 (N, channels, H, W), scaled to 0..1 and normalised by ``mean`` and ``std``;
    tables as float32 (N, F). The module returns logits (N, C), or an object with an attribute ``logits``. Two methods
    more are used where it has them: ``embed(x)`` to (N, D) with ``classify(embedding)`` to (N, C), which together are
    ``forward`` and give the signal its embedding; and ``fuse()``, which readies the module for inference.
    """

    def __init__(self, settings: TeacherSettings, splits: DataSplits) -> None:
        if splits.train.kind == "text":
            raise UserError(
                "a torch teacher reads images or tables, got texts; use kind huggingface or sentence-encoder"
            )
        self.settings = settings
        self.name = settings.name or str(settings.factory).rpartition(":")[2]
        self.module = _create(settings)
        self.num_params = sum(parameter.numel() for parameter in self.module.parameters())
        weights = hash_weights(self.module)
        _ready(self.module)
        names = self._names(splits)
        self._columns = torch.from_numpy(match_classes(names, splits.train.classes, self.name))
        self.classes = splits.train.classes or tuple(names)
        self.key = content_key(
            *("torch", settings.factory, settings.kwargs, settings.mean, settings.std, settings.precision),
            *(weights, self._columns.tolist(), self.classes),
        )

    def signal(self, raw: np.ndarray) -> TeacherSignal:
        """Return logits (N, C), and the embedding (N, D) where the module has one, of raw inputs (N, ...)."""
        with torch_threads(self.settings.threads):
            return run_in_batches(len(raw), self.settings.batch_size, lambda rows: self._forward(raw[rows]))

    def macs(self, raw: np.ndarray) -> float | None:
        """Return the multiply-accumulates per input of raw inputs (N, ...)."""
        return count_cost(self.module, self._inputs(raw)).macs

    def _names(self, splits: DataSplits) -> list[str]:
        """Names of the outputs: as set, else the data's; one example shows how many outputs there are."""
        with torch.inference_mode():
            outputs = self._run(self._inputs(splits.train.inputs[:1]))[0].shape[-1]
        names = self.settings.classes or splits.train.classes or [str(number) for number in range(outputs)]
        check_num_outputs(outputs, names, self.name)
        return list(names)

    def _forward(self, raw: np.ndarray) -> tuple[Tensor, Tensor | None]:
        logits, embedding = self._run(self._inputs(raw))
        return logits.float()[:, self._columns], embedding

    def _run(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        embed, classify = (getattr(self.module, name, None) for name in ("embed", "classify"))
        if callable(embed) and callable(classify):
            with mixed_precision(self.settings.precision):
                embedding: Tensor = embed(inputs)
            # The last layer in float32, also inside a student's autocast: bfloat16 logits have three digits.
            with torch.autocast("cpu", enabled=False):
                return classify(embedding.float()), embedding
        with mixed_precision(self.settings.precision):
            output = self.module(inputs)
        return getattr(output, "logits", output), None

    def _inputs(self, raw: np.ndarray) -> Tensor:
        if raw.dtype != np.uint8:
            return torch.from_numpy(np.array(raw, dtype=np.float32))
        images = torch.from_numpy(np.array(raw)).permute(0, 3, 1, 2)
        pixels = images.to(torch.float32, memory_format=torch.channels_last).div_(255)
        mean, std = (self._per_channel(values, pixels.shape[1]) for values in (self.settings.mean, self.settings.std))
        return pixels.sub_(mean).div_(std)

    def _per_channel(self, values: list[float], channels: int) -> Tensor:
        if len(values) not in (1, channels):
            raise UserError(
                f"mean and std of teacher {self.name!r} need one number per channel; the images have {channels}, got "
                f"{len(values)}: {values}; give {channels}, or one for all"
            )
        return torch.tensor(values).view(1, -1, 1, 1)


def _create(settings: TeacherSettings) -> nn.Module:
    module = import_callable(str(settings.factory), "teacher.factory")(**settings.kwargs)
    if not isinstance(module, nn.Module):
        raise UserError(
            f"teacher.factory must return a torch nn.Module, {settings.factory} returned a {type(module).__name__}; "
            "return the module itself"
        )
    if settings.checkpoint:
        load_checkpoint(module, find_file(settings.checkpoint), settings.strip_prefix)
    return module


def _ready(module: nn.Module) -> None:
    module.eval().requires_grad_(False)
    fuse = getattr(module, "fuse", None)
    if callable(fuse):
        fuse()
    # NHWC is how images arrive, and what convolutions run fastest on.
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
