"""Image and text classifiers in the Hugging Face format, from a folder or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moist.data import DataSplits
from moist.evaluation import count_cost
from moist.storage import content_key
from moist.teachers.labels import check_num_outputs, match_classes
from moist.teachers.running import hash_weights, mixed_precision, run_in_batches, torch_threads
from moist.teachers.settings import TeacherSettings
from moist.teachers.transformers_models import load_image_classifier, load_text_classifier
from moist.types import TeacherSignal, UserError

__all__ = ["HuggingFaceTeacher", "length_order", "mean_pool", "tokenize"]


class HuggingFaceTeacher:
    """A classifier whose configuration names its labels; its embedding is the mean of the last hidden states."""

    def __init__(self, settings: TeacherSettings, splits: DataSplits) -> None:
        if splits.train.kind not in ("vision", "text"):
            raise UserError("a huggingface teacher reads images or texts, got a table; use kind sklearn or lightgbm")
        self.settings = settings
        self.name = settings.name or Path(str(settings.model)).name
        self._reads_text = splits.train.kind == "text"
        load = load_text_classifier if self._reads_text else load_image_classifier
        self._model, self._processor = load(str(settings.model))
        self.num_params = sum(parameter.numel() for parameter in self._model.parameters())
        names = _label_names(self._model.config, settings.classes, self.name)
        self._columns = torch.from_numpy(match_classes(names, splits.train.classes, self.name))
        self.classes = splits.train.classes or tuple(names)
        self.key = content_key(
            *("huggingface", hash_weights(self._model), _describe(self._processor), settings.max_length),
            *(settings.precision, self._columns.tolist(), self.classes),
        )

    def signal(self, raw: np.ndarray) -> TeacherSignal:
        """Return logits (N, C), and an embedding (N, D) where hidden states are shown, of raw inputs (N, ...)."""
        order = length_order(raw) if self._reads_text else None
        with torch_threads(self.settings.threads):
            return run_in_batches(len(raw), self.settings.batch_size, lambda rows: self._forward(raw[rows]), order)

    def macs(self, raw: np.ndarray) -> float | None:
        """Return the multiply-accumulates per input of raw inputs (N, ...)."""
        inputs = self._inputs(raw)
        return count_cost(self._model, inputs["input_ids" if self._reads_text else "pixel_values"]).macs

    def _forward(self, raw: np.ndarray) -> tuple[Tensor, Tensor | None]:
        inputs = self._inputs(raw)
        with mixed_precision(self.settings.precision):
            output = self._model(**inputs, output_hidden_states=True)
        states = output.hidden_states[-1].float() if output.get("hidden_states") else None
        embedding = None if states is None else mean_pool(states, inputs.get("attention_mask"))
        return output.logits.float()[:, self._columns], embedding

    def _inputs(self, raw: np.ndarray) -> dict[str, Tensor]:
        if self._reads_text:
            return tokenize(self._processor, raw, self.settings.max_length)
        images = raw if raw.shape[-1] == 3 else np.repeat(raw[..., :1], 3, axis=-1)
        return {"pixel_values": self._processor(images=list(images), return_tensors="pt")["pixel_values"]}


def tokenize(tokenizer: Any, texts: np.ndarray, max_length: int) -> dict[str, Tensor]:
    """Return token ids and mask, (N, L) each, of texts (N,), cut at ``max_length`` and padded to the longest."""
    words = [str(text) for text in texts]
    return dict(tokenizer(words, padding=True, truncation=True, max_length=max_length, return_tensors="pt"))


def length_order(texts: np.ndarray) -> np.ndarray:
    """Return the rows of texts (N,) from short to long, so that a batch has little padding."""
    return np.argsort([len(text) for text in texts], kind="stable")


def mean_pool(states: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean (N, D) of hidden states: tokens (N, L, D) under a mask (N, L), or a feature map (N, D, H, W)."""
    if states.dim() == 4:
        return states.mean(dim=(2, 3))
    if mask is None:
        return states.mean(dim=1)
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)


def _label_names(config: Any, classes: list[str] | None, teacher: str) -> list[str]:
    labels = {int(number): str(label) for number, label in config.id2label.items()}
    if classes:
        check_num_outputs(len(labels), classes, teacher)
        return classes
    return [labels[number] for number in sorted(labels)]


def _describe(processor: Any) -> str:
    """Everything that changes what the model reads: the tokenizer's tables, or the image processor's settings."""
    backend = getattr(processor, "backend_tokenizer", None)
    return (
        str(backend.to_str())
        if backend is not None
        else str(getattr(processor, "to_json_string", processor.__repr__)())
    )
