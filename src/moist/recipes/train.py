"""The training jobs: each trains one thing and leaves weights, curves and predictions in its folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from moist.config import load_config
from moist.mixture import (
    EarlyExitGate,
    MixtureOfSpecialists,
    MixtureSettings,
    TrainableMixture,
    add_to_scores,
    build_gate,
    build_mixture,
    build_tail,
    calibrate_exit,
    level_shares,
    pool_features,
    start_gate_from_centres,
    start_gate_from_head,
)
from moist.partition import EmbeddingPartitioner, domain_rows
from moist.progress import Advance
from moist.recipes.domains import class_groups, make_partition
from moist.recipes.workspace import Workspace, workspace_from_payload
from moist.storage import read_json, write_atomic, write_json
from moist.students import Student, StudentSettings, create_student
from moist.tasks import DistillTask, JointSettings, JointTask, RouterTask
from moist.training import fit

__all__ = [
    "keep_model",
    "keep_outputs",
    "level_gate",
    "load_generalist",
    "run_schedule",
    "train_gate",
    "train_joint",
    "train_specialist",
    "train_student",
]

Payload = dict[str, Any]
LEVELLED_ON = 16_384  # training inputs; 512 for each of 32 specialists


def train_student(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Distil one single student on all training data.

    The payload holds ``student`` (its settings), ``epochs`` and ``seed`` beside the workspace.
    """
    space = workspace_from_payload(payload)
    torch.manual_seed(payload["seed"])
    student = create_student(
        load_config(StudentSettings, payload["student"]), space.transform.input_shape, space.num_classes
    )
    _compile(space, student)
    task = DistillTask(student, space.signals(), space.settings.loss)
    history = run_schedule(space, task, payload, folder, advance)
    return keep_outputs(space, student, history, folder, _student_outputs)


def train_joint(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Train trunk, gate and specialists jointly on the mixture likelihood.

    With ``shared_start`` the first part of the epochs trains one student; then every specialist starts as a copy of
    its tail, the gate from a clustering of its trunk's features, and the rest trains the mixture: on the same schedule,
    or with ``restart`` on another of its own. Where the payload names a ``start``, the folder of a job that trained
    that student, it is taken from there.
    """
    space = workspace_from_payload(payload)
    settings, weights = load_config(MixtureSettings, payload["mixture"]), load_config(JointSettings, payload["joint"])
    torch.manual_seed(payload["seed"])
    shared_epochs = settings.shared_epochs(payload["epochs"])
    groups = class_groups(space, settings, payload["seed"])
    mixture = new_mixture(space, settings, groups=groups)
    history: list[dict[str, float]] = []
    if shared_epochs:
        student, history = _shared_student(space, settings, payload, folder, advance, shared_epochs)
        mixture = new_mixture(space, settings, student, groups)
        if groups is None:
            centres = _clusters(space, mixture.trunk, settings.num_domains, payload["seed"])
            start_gate_from_centres(mixture.gate, *centres)
        else:
            start_gate_from_head(mixture.gate, student.stages[settings.trunk_stages :], groups)
    _compile(space, mixture.trunk, *([] if settings.active else [mixture.specialists]))
    early_exit = settings.exit is not None
    joint = JointTask(mixture, space.signals(), space.settings.loss, weights, settings.active, early_exit=early_exit)
    rest = _Part(start=shared_epochs, restart=settings.restart)
    history = history + run_schedule(space, joint, payload, folder, advance, part=rest)
    (folder / "shared.pt").unlink(missing_ok=True)
    deployed = mixture.deploy()
    if settings.exit is not None:
        _calibrate(space, deployed, settings.exit.share)
    return keep_outputs(space, deployed, history, folder, _mixture_outputs)


def level_gate(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Raise the scores of a jointly trained mixture's starved specialists, and keep the mixture so.

    The payload holds ``mixture`` (its settings, with ``least_share``) and ``trained``, the folder of the mixture.
    """
    space = workspace_from_payload(payload)
    settings, trained = load_config(MixtureSettings, payload["mixture"]), Path(payload["trained"])
    mixture = new_mixture(space, settings).deploy()
    mixture.load_state_dict(load_file(trained / "model.safetensors"))
    advance(0, "levelling", total=1)
    outputs = _run(space, mixture, "train", _gate_outputs, LEVELLED_ON)
    added_K = level_shares(outputs["scores"], settings.least_share)
    add_to_scores(mixture.gate, added_K)
    history = read_json(trained / "history.json")
    return {**keep_outputs(space, mixture, history, folder, _mixture_outputs), "added": added_K.tolist()}


def _gate_outputs(mixture: MixtureOfSpecialists, inputs: Tensor) -> dict[str, Tensor]:
    features = mixture.trunk(inputs)
    return {"scores": mixture.gate(features if mixture.reads == "trunk" else inputs)}


def _shared_student(
    space: Workspace, settings: MixtureSettings, payload: Payload, folder: Path, advance: Advance, epochs: int
) -> tuple[Student, list[dict[str, float]]]:
    """Return the student that all specialists branch from, trained here or by another job, and its curves."""
    if "start" in payload:
        start = Path(payload["start"])
        return load_generalist(space, start), read_json(start / "history.json")
    student = create_student(space.settings.student, space.transform.input_shape, space.num_classes)
    _compile(space, student)
    task = DistillTask(student, space.signals(), space.settings.loss)
    shared = _Part(stop=epochs, checkpoint="shared.pt", restart=None if settings.restart is None else 1.0)
    return student, run_schedule(space, task, payload, folder, advance, part=shared)


def _calibrate(space: Workspace, mixture: MixtureOfSpecialists, share: float) -> None:
    """Set an early exit's threshold on the validation part, or without one on training examples."""
    assert isinstance(mixture.gate, EarlyExitGate)
    validation = space.part("validation")
    rows = space.inputs("validation") if validation is not None and len(validation) else space.inputs("train", 4096)
    batches = (space.transform.to_tensor(part) for part in torch.split(rows, 512))
    calibrate_exit(mixture.trunk, mixture.gate, batches, share)


@torch.no_grad()
def _clusters(
    space: Workspace, trunk: nn.Module, num_domains: int, seed: int, limit: int = 4096
) -> tuple[Tensor, float]:
    """Return K centres (K, D) of the trunk's pooled features, and their variance per dimension around them."""
    trunk.eval()
    parts = [trunk(space.transform.to_tensor(rows)) for rows in torch.split(space.inputs("train", limit), 512)]
    trunk.train()
    features_ND = torch.cat([pool_features(part) for part in parts]).float()
    domains = torch.from_numpy(EmbeddingPartitioner(num_domains, seed).partition(features_ND.numpy()).assignment)
    centres_KD = torch.stack([features_ND[domains == domain].mean(dim=0) for domain in range(num_domains)])
    return centres_KD, float((features_ND - centres_KD[domains]).square().mean())


def _compile(space: Workspace, *modules: nn.Module) -> None:
    """Compile modules in place where the settings ask for it; their weights and names stay as they are."""
    if space.settings.training.compile:
        for module in modules:
            module.compile()


def new_mixture(
    space: Workspace,
    settings: MixtureSettings,
    generalist: Student | None = None,
    groups: Sequence[Sequence[int]] | None = None,
) -> TrainableMixture:
    """Build an untrained mixture for the workspace's data; see ``build_mixture`` for the arguments."""
    shape = space.transform.input_shape
    return build_mixture(
        settings, space.settings.student, shape, space.num_classes, space.example(), generalist, groups
    )


def load_generalist(space: Workspace, folder: Path) -> Student:
    """Load the generalist that a job trained into ``folder``."""
    student = create_student(space.settings.student, space.transform.input_shape, space.num_classes)
    student.load_state_dict(load_file(folder / "model.safetensors"))
    return student.eval()


def train_specialist(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Train one specialist, from the generalist's weights, on the examples of its own domain.

    The trunk, where there is one, stays the generalist's: all specialists share it.
    """
    space = workspace_from_payload(payload)
    settings = load_config(MixtureSettings, payload["mixture"])
    torch.manual_seed(payload["seed"])
    generalist = load_generalist(space, Path(payload["generalist"]))
    _freeze_trunk(generalist, settings.trunk_stages)
    partition = make_partition(space, settings, payload["partition_seed"])
    rows = domain_rows(partition, payload["domain"], settings.outside, payload["seed"])
    tail = _new_tail(space, settings, payload, payload["domain"], generalist)
    student = Student([*generalist.stages[: settings.trunk_stages], tail])
    task = _FrozenTrunkTask(student, settings.trunk_stages, DistillTask(student, space.signals(), space.settings.loss))
    history = run_schedule(space, task, payload, folder, advance, rows)
    keep_model(folder, tail, history)
    return {"history": history, "examples": len(rows)}


def _new_tail(
    space: Workspace, settings: MixtureSettings, payload: Payload, domain: int, generalist: Student
) -> nn.Module:
    """Return a copy of the generalist's tail that scores what the specialist of a domain scores."""
    groups = class_groups(space, settings, payload["partition_seed"])
    classes = None if groups is None else groups[domain]
    shape, cut = space.transform.input_shape, settings.trunk_stages
    return build_tail(space.settings.student, shape, space.num_classes, cut, classes, generalist)


def _freeze_trunk(student: Student, trunk_stages: int) -> None:
    for stage in student.stages[:trunk_stages]:
        stage.requires_grad_(False)


class _FrozenTrunkTask(nn.Module):
    """Keep a frozen trunk in evaluation mode while the rest trains, so that its batch statistics stay put."""

    def __init__(self, student: Student, trunk_stages: int, task: nn.Module) -> None:
        super().__init__()
        self.task = task
        self._trunk = list(student.stages[:trunk_stages])

    def train(self, mode: bool = True) -> _FrozenTrunkTask:
        super().train(mode)
        for stage in self._trunk:
            stage.eval()
        return self

    def forward(self, *arguments: Any) -> dict[str, Tensor]:
        values: dict[str, Tensor] = self.task(*arguments)
        return values


def train_gate(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Train the router of domains that were cut beforehand, and put the mixture together."""
    space = workspace_from_payload(payload)
    settings = load_config(MixtureSettings, payload["mixture"])
    torch.manual_seed(payload["seed"])
    generalist = load_generalist(space, Path(payload["generalist"]))
    trunk = nn.Sequential(*generalist.stages[: settings.trunk_stages]) if settings.trunk_stages else nn.Identity()
    trunk.requires_grad_(False)
    with torch.no_grad():
        features = trunk(space.example())
    gate = build_gate(settings.router, space.transform.input_shape, settings.num_domains, features)
    partition = make_partition(space, settings, payload["partition_seed"])
    reader = gate if settings.router.reads == "inputs" else _TrunkThenGate(trunk, gate)
    history = run_schedule(space, RouterTask(reader, partition, space.signals()), payload, folder, advance)
    tails = []
    for domain, specialist in enumerate(payload["specialists"]):
        tail = _new_tail(space, settings, payload, domain, generalist)
        tail.load_state_dict(load_file(Path(specialist) / "model.safetensors"))
        tails.append(tail)
    mixture = MixtureOfSpecialists(trunk, gate, nn.ModuleList(tails), reads=settings.router.reads).eval()
    result = keep_outputs(space, mixture, history, folder, _mixture_outputs)
    classes = partition.class_to_domain
    return {**result, "class_to_domain": None if classes is None else classes.tolist()}


class _TrunkThenGate(nn.Module):
    """A gate that reads a frozen trunk's features."""

    def __init__(self, trunk: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate
        self._trunk = [trunk.eval()]

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            features = self._trunk[0](inputs)
        scores: Tensor = self.gate(features)
        return scores


@dataclass(frozen=True)
class _Part:
    """A part of a payload's epochs.

    Args:
        start: first epoch.
        stop: the epoch after the last; None for the payload's last.
        checkpoint: name of the file to resume from.
        restart: peak learning rate of a schedule of its own, as a share of the setting; None for a part of the whole.
    """

    start: int = 0
    stop: int | None = None
    checkpoint: str = "checkpoint.pt"
    restart: float | None = None


WHOLE = _Part()


def run_schedule(
    space: Workspace,
    task: nn.Module,
    payload: Payload,
    folder: Path,
    advance: Advance,
    rows: np.ndarray | None = None,
    *,
    part: _Part = WHOLE,
) -> list[dict[str, float]]:
    """Train on the payload's epochs, or on a part of them."""
    settings = space.settings.training
    settings = settings.model_copy(
        update={"epochs": payload["epochs"], "learning_rate": settings.learning_rate * (part.restart or 1.0)}
    )
    loader = space.loader(payload["seed"], settings.batch_size, rows)
    return fit(
        task,
        loader,
        settings,
        seed=payload["seed"],
        checkpoint=folder / part.checkpoint,
        advance=advance,
        first_step=part.start * len(loader),
        max_steps=None if part.stop is None else part.stop * len(loader),
        own_schedule=part.restart is not None,
    )


Outputs = Callable[[Any, Tensor], dict[str, Tensor]]


def _student_outputs(student: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    return {"logits": student(inputs)}


def _mixture_outputs(mixture: MixtureOfSpecialists, inputs: Tensor) -> dict[str, Tensor]:
    scores, logits = mixture.forward_all(inputs)
    return {"scores": scores, "logits": logits}


def keep_outputs(
    space: Workspace, model: nn.Module, history: list[dict[str, float]], folder: Path, outputs: Outputs
) -> dict[str, Any]:
    """Keep the weights, the curves, and what the model says of the validation and test parts."""
    model.eval()
    for split in ("validation", "test"):
        part = space.part(split)
        if part is not None and len(part):
            _save_outputs(folder / f"{split}.safetensors", _run(space, model, split, outputs))
    keep_model(folder, model, history)
    return {"history": history}


@torch.inference_mode()
def _run(
    space: Workspace, model: nn.Module, split: str, outputs: Outputs, limit: int | None = None
) -> dict[str, Tensor]:
    inputs = space.inputs(split, limit)
    parts = [outputs(model, space.transform.to_tensor(rows)) for rows in torch.split(inputs, 512)]
    return {name: torch.cat([part[name] for part in parts]).float() for name in parts[0]}


def _save_outputs(path: Path, tensors: dict[str, Tensor]) -> None:
    write_atomic(path, lambda partial: save_file(tensors, partial))


def keep_model(folder: Path, model: nn.Module, history: list[dict[str, float]]) -> None:
    state = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    write_atomic(folder / "model.safetensors", lambda partial: save_file(state, partial))
    write_json(folder / "history.json", history)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
