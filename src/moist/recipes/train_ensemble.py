"""The training jobs of ``method: hinton-specialists``: each specialist, then the ensemble put together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from moist.config import load_config
from moist.mixture import (
    MixtureSettings,
    SpecialistEnsemble,
    build_ensemble,
    classes_each,
    fit_dustbins,
    new_class_specialist,
    start_from_generalist,
)
from moist.partition import OverlappingClassSets
from moist.progress import Advance
from moist.recipes.train import keep_model, keep_outputs, load_generalist, run_schedule
from moist.recipes.workspace import Workspace, workspace_from_payload
from moist.storage import read_json
from moist.tasks import SubsetTask

__all__ = ["assemble_ensemble", "dustbin_correction", "half_special", "train_class_specialist"]

BATCH = 1024
# A small student that has fitted its training data is certain of most; softened, it still tells what it confuses.
SOFTENED = 3.0


def train_class_specialist(payload: dict[str, Any], folder: Path, advance: Advance) -> dict[str, Any]:
    """Train specialist number ``domain``, from the generalist, on its own classes and as many other examples."""
    space = workspace_from_payload(payload)
    settings = load_config(MixtureSettings, payload["mixture"])
    torch.manual_seed(payload["seed"])
    generalist = load_generalist(space, Path(payload["generalist"]))
    sets_MS = _class_sets(space, settings, generalist, payload["partition_seed"])
    classes_S = torch.from_numpy(sets_MS[payload["domain"]])
    specialist = new_class_specialist(space.settings.student, space.transform.input_shape, len(classes_S))
    start_from_generalist(specialist, generalist.stages, classes_S)
    special_N = np.isin(_labels(space), sets_MS[payload["domain"]])
    rows = half_special(special_N, seed=payload["seed"] + 1000 * payload["domain"])
    task = SubsetTask(specialist, space.signals(), space.settings.loss, classes_S, space.num_classes)
    history = run_schedule(space, task, payload, folder, advance, rows)
    keep_model(folder, specialist, history)
    correction = dustbin_correction(special_N, rows)
    return {"history": history, "examples": len(rows), "classes": classes_S.tolist(), "correction": correction}


def _labels(space: Workspace, split: str = "train") -> np.ndarray:
    """Return the class (N,) of each row of a part; without labels, the teacher's."""
    part = space.part(split)
    assert part is not None
    return space.teacher_logits(split).argmax(axis=1) if part.target is None else part.target


def _class_sets(space: Workspace, settings: MixtureSettings, generalist: nn.Module, seed: int) -> np.ndarray:
    """Return the classes (M, S) of each specialist, from the generalist's predictions and no labels."""
    size = classes_each(settings, space.num_classes)
    partitioner = OverlappingClassSets(settings.num_domains, size, seed)
    return partitioner.fit(_predictions(space, generalist), space.num_classes)


@torch.inference_mode()
def _predictions(space: Workspace, generalist: nn.Module) -> Iterator[np.ndarray]:
    """Yield the generalist's softened probabilities of the training part, batch by batch."""
    for rows in torch.split(space.inputs("train"), BATCH):
        yield (generalist(space.transform.to_tensor(rows)) / SOFTENED).softmax(dim=1).numpy()


def half_special(special_N: np.ndarray, seed: int) -> np.ndarray:
    """Return the numbers of all special rows and of as many others, drawn at random, in order."""
    own, others = np.flatnonzero(special_N), np.flatnonzero(~special_N)
    drawn = np.random.default_rng(seed).choice(others, min(len(own), len(others)), replace=False)
    return np.sort(np.concatenate([own, drawn]))


def dustbin_correction(special_N: np.ndarray, rows: np.ndarray) -> float:
    """Return what to add to the dustbin's logit: log of how many of the other rows there are for each one drawn.

    Args:
        special_N: (N,) bool whether a row is of the specialist's classes.
        rows: the rows that it was trained on, all special ones among them.
    """
    others, drawn = int((~special_N).sum()), int((~special_N[rows]).sum())
    return float(np.log(max(others, 1) / max(drawn, 1)))


def assemble_ensemble(payload: dict[str, Any], folder: Path, advance: Advance) -> dict[str, Any]:
    """Put generalist and specialists together, and keep what the ensemble says."""
    space = workspace_from_payload(payload)
    settings = load_config(MixtureSettings, payload["mixture"])
    generalist = load_generalist(space, Path(payload["generalist"]))
    folders = [Path(name) for name in payload["specialists"]]
    known = [read_json(place / "done.json")["value"] for place in folders]
    ensemble = build_ensemble(
        settings,
        space.settings.student,
        space.transform.input_shape,
        space.num_classes,
        torch.tensor([value["classes"] for value in known]),
        torch.tensor([value["correction"] for value in known]),
    )
    ensemble.gate.generalist.load_state_dict(generalist.state_dict())
    for place, specialist in zip(folders, ensemble.specialists):
        specialist.load_state_dict(load_file(place / "model.safetensors"))
    ensemble.eval()
    if settings.dustbins == "fitted":
        _fit_dustbins(space, ensemble)
    advance(1, total=1)
    result = keep_outputs(space, ensemble, [], folder, _ensemble_outputs)
    return result | {"classes": [value["classes"] for value in known]}


def _fit_dustbins(space: Workspace, ensemble: SpecialistEnsemble) -> None:
    """Correct the dustbins on the validation part; where there is none they stay as published."""
    validation = space.part("validation")
    if validation is None or not len(validation):
        return
    batches = (space.transform.to_tensor(rows) for rows in torch.split(space.inputs("validation"), BATCH))
    target = torch.from_numpy(_labels(space, "validation"))
    ensemble.gate.correction.copy_(fit_dustbins(ensemble, batches, target))


def _ensemble_outputs(ensemble: SpecialistEnsemble, inputs: Tensor) -> dict[str, Tensor]:
    """Return scores (N, M), each specialist's own answers (N, M, C), the answer (N, C), and who was heard (N, M)."""
    scores, logits = ensemble.forward_all(inputs)
    prediction = ensemble(inputs)
    heard = torch.zeros_like(scores).scatter_(1, prediction.routing.expert_indices, prediction.routing.expert_weights)
    return {"scores": scores, "logits": logits, "probabilities": prediction.probabilities, "heard": heard}
