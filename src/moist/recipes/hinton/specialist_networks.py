"""The job of ``hinton-specialists``: one generalist, its specialists, and their controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from moist.config import Settings, load_config
from moist.data import (
    DataSettings,
    DataSplits,
    IndexedDataset,
    Loader,
    Transform,
    TransformSettings,
    fit_transform,
    load_dataset,
)
from moist.evaluation import count_cost, measure_latency
from moist.mixture import (
    MixtureSettings,
    SpecialistEnsemble,
    build_ensemble,
    classes_each,
    fit_dustbins,
    mixture_cost,
    new_class_specialist,
    start_from_generalist,
)
from moist.partition import OverlappingClassSets
from moist.progress import Advance
from moist.recipes.hinton.coverage import conditional_accuracy, gain_by_coverage
from moist.recipes.hinton.networks import encode, run_in_parts
from moist.recipes.train_ensemble import SOFTENED, dustbin_correction, half_special
from moist.storage import default_cache_dir
from moist.students import Student, StudentSettings, create_student
from moist.tasks import LossSettings, MoETask, SubsetTask
from moist.training import TrainingSettings, fit
from moist.types import Batch, TeacherSignal

__all__ = ["CaseSettings", "fit_biases", "train_case"]


class CaseSettings(Settings):
    """One data set and how its generalist and specialists are made.

    Args:
        data: the data set.
        transform: how texts are read.
        student: generalist and, but for its outputs, each specialist.
        mixture: number and size of the specialists.
        generalist: how the generalist is trained, on labels.
        specialist: how each specialist is trained.
        loss: how specialists weigh labels and the generalist's soft targets.
        seed: of everything random.
        part: what is measured: choices are made on ``validation``.
    """

    data: DataSettings
    transform: TransformSettings
    student: StudentSettings
    mixture: MixtureSettings
    generalist: TrainingSettings
    specialist: TrainingSettings
    loss: LossSettings
    seed: int = Field(0, ge=0)
    part: Literal["validation", "test"] = "test"


@dataclass(frozen=True)
class _Case:
    settings: CaseSettings
    splits: DataSplits
    transform: Transform
    folder: Path
    advance: Advance

    @property
    def num_classes(self) -> int:
        return len(self.splits.train.classes)

    @property
    def part(self) -> IndexedDataset:
        part: IndexedDataset | None = getattr(self.splits, self.settings.part)
        assert part is not None
        return part

    @property
    def target(self) -> np.ndarray:
        assert self.part.target is not None
        return self.part.target

    @cached_property
    def encoded(self) -> Tensor:
        return encode(self.part, self.transform)

    @cached_property
    def held_out(self) -> tuple[Tensor, Tensor]:
        """The validation part, encoded, and its classes: what corrections are fitted on."""
        target = self.splits.validation.target
        assert target is not None
        return encode(self.splits.validation, self.transform), torch.from_numpy(target)

    def loader(self, batch_size: int, seed: int, rows: np.ndarray | None = None) -> Loader:
        return Loader(self.splits.train, self.transform, batch_size=batch_size, seed=seed, rows=rows)

    def logits(self, model: nn.Module) -> Tensor:
        return run_in_parts(model.eval(), self.encoded, self.transform)


class _Adding:
    """Reports one network after another, each of which knows only its own steps, as one piece of work that grows."""

    def __init__(self, advance: Advance) -> None:
        self.advance = advance
        self.total = 0.0

    def __call__(self, steps: float = 1, note: str = "", total: float | None = None) -> None:
        if total is None:
            self.advance(steps, note)
        else:
            self.total += total
            self.advance(steps, note, self.total)


def train_case(payload: dict[str, Any], folder: Path, advance: Advance) -> dict[str, Any]:
    """Train and measure one seed of one data set; networks that were finished before an interruption are not redone."""
    settings = load_config(CaseSettings, payload["case"])
    splits = load_dataset(settings.data, default_cache_dir(), quiet=True)
    transform = fit_transform(splits.train, settings.transform)
    case = _Case(settings, splits, transform, folder, _Adding(advance))
    generalist = _train_generalist(case, settings.generalist, "generalist.pt")
    ensemble, shares = _train_specialists(case, generalist)
    epochs = ceil(settings.generalist.epochs + settings.specialist.epochs * sum(shares))
    control = _train_generalist(case, settings.generalist.model_copy(update={"epochs": epochs}), "longer.pt")
    return _measure(case, generalist, ensemble, control) | {"control_epochs": epochs}


def _train_generalist(case: _Case, training: TrainingSettings, checkpoint: str) -> Student:
    torch.manual_seed(case.settings.seed)
    student = create_student(case.settings.student, case.transform.input_shape, case.num_classes)
    fit(
        MoETask(student, None),
        case.loader(training.batch_size, case.settings.seed),
        training,
        seed=case.settings.seed,
        checkpoint=case.folder / checkpoint,
        advance=case.advance,
    )
    return student.eval()


def _train_specialists(case: _Case, generalist: Student) -> tuple[SpecialistEnsemble, list[float]]:
    """Return the ensemble, and the share of the training part that each specialist saw."""
    settings, target = case.settings, case.splits.train.target
    assert target is not None
    told = run_in_parts(generalist, encode(case.splits.train, case.transform), case.transform)
    size = classes_each(settings.mixture, case.num_classes)
    finder = OverlappingClassSets(settings.mixture.num_domains, size, settings.seed)
    sets_MS = finder.fit(
        ((part / SOFTENED).softmax(dim=1).numpy() for part in torch.split(told, 1024)), case.num_classes
    )
    shape = case.transform.input_shape
    specialists, corrections, shares = [], [], []
    for m, classes in enumerate(sets_MS):
        specialist = new_class_specialist(settings.student, shape, size)
        start_from_generalist(specialist, generalist.stages, torch.from_numpy(classes))
        special_N = np.isin(target, classes)
        rows = half_special(special_N, seed=settings.seed + 1000 * m)
        _train_specialist(case, specialist, torch.from_numpy(classes), rows, told, m)
        specialists.append(specialist)
        corrections.append(dustbin_correction(special_N, rows))
        shares.append(len(rows) / len(special_N))
    sets, correction = torch.from_numpy(sets_MS), torch.tensor(corrections)
    ensemble = build_ensemble(settings.mixture, settings.student, shape, case.num_classes, sets, correction)
    ensemble.gate.generalist, ensemble.specialists = generalist, nn.ModuleList(specialists)
    return ensemble.eval(), shares


def _train_specialist(
    case: _Case, specialist: nn.Module, classes_S: Tensor, rows: np.ndarray, told_NC: Tensor, number: int
) -> None:
    seed = case.settings.seed + number

    def generalist_says(batch: Batch) -> TeacherSignal:
        return TeacherSignal(told_NC[batch.index])

    fit(
        SubsetTask(specialist, generalist_says, case.settings.loss, classes_S, case.num_classes),
        case.loader(case.settings.specialist.batch_size, seed, rows),
        case.settings.specialist,
        seed=seed,
        checkpoint=case.folder / f"specialist-{number}.pt",
        advance=case.advance,
    )


@torch.no_grad()
def _measure(case: _Case, generalist: nn.Module, ensemble: SpecialistEnsemble, control: nn.Module) -> dict[str, Any]:
    target, sets = case.target, ensemble.gate.sets.numpy()
    general = case.logits(generalist)
    published, _ = _answers(case, ensemble)
    encoded, classes = case.held_out
    batches = (case.transform.to_tensor(rows) for rows in torch.split(encoded, 1000))
    ensemble.gate.correction.copy_(fit_dustbins(ensemble, batches, classes))
    answers, heard = _answers(case, ensemble)
    biases = fit_biases(run_in_parts(generalist, encoded, case.transform), classes)
    right_before, right_after = general.argmax(dim=1).numpy() == target, answers.argmax(axis=1) == target
    example = case.transform.to_tensor(case.encoded[:512])
    active, total = mixture_cost(ensemble, example, heard.mean(axis=0).tolist())
    one = example[:1]
    return {
        "generalist": float(right_before.mean()),
        "generalist_fitted": float(((general + biases).argmax(dim=1).numpy() == target).mean()),
        "ensemble_as_published": float((published.argmax(axis=1) == target).mean()),
        "ensemble": float(right_after.mean()),
        "generalist_longer": float((case.logits(control).argmax(dim=1).numpy() == target).mean()),
        "by_coverage": gain_by_coverage(right_before, right_after, target, sets),
        "conditional": conditional_accuracy(general.numpy(), _every_specialist(case, ensemble), target, sets),
        "heard": float(heard.sum(axis=1).mean()),
        "sets": sets.tolist(),
        "correction": ensemble.gate.correction.tolist(),
        "cost": {"macs": active.macs, "params": active.params, "total_params": total.params, "bytes": total.bytes},
        "generalist_macs": count_cost(generalist, example).macs,
        "latency_ms": {
            "generalist": measure_latency(lambda: generalist(one))["median"],
            "ensemble": measure_latency(lambda: ensemble(one))["median"],
        },
    }


def fit_biases(logits_NC: Tensor, target_N: Tensor) -> Tensor:
    """Return biases (C,) under which the classes are likeliest: what the validation part alone is worth, as a control.

    Args:
        logits_NC: (N, C) of examples that the model was not trained on.
        target_N: (N,) int64 their classes.
    """
    biases_C = torch.zeros(logits_NC.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([biases_C], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits_NC + biases_C, target_N) + 1e-3 * biases_C.square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return biases_C.detach()


def _answers(case: _Case, ensemble: SpecialistEnsemble) -> tuple[np.ndarray, np.ndarray]:
    """Return the answers (N, C), and which specialists were heard (N, M)."""
    answers, heard = [], []
    for rows in torch.split(case.encoded, 1000):
        prediction = ensemble(case.transform.to_tensor(rows))
        routing = prediction.routing
        answers.append(prediction.probabilities)
        heard.append(torch.zeros_like(routing.logits).scatter_(1, routing.expert_indices, routing.expert_weights))
    return torch.cat(answers).numpy(), torch.cat(heard).numpy()


def _every_specialist(case: _Case, ensemble: SpecialistEnsemble) -> Iterator[np.ndarray]:
    """Yield each specialist's logits (N, S) of its own classes, whoever is heard."""
    for specialist in ensemble.specialists:
        yield case.logits(specialist)[:, :-1].numpy()
