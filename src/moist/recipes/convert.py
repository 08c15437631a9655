"""Dense to sparse and back: upcycling, and integration into one dense student."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import Field

from moist.config import Settings, load_config
from moist.integration import GatherMethod, UnitScore, to_dense
from moist.moe import SparseSettings
from moist.progress import Advance, progress_bar
from moist.recipes.networks import (
    CHECKPOINT,
    WEIGHTS,
    Network,
    NetworkSettings,
    claim_checkpoint,
    open_network,
    save_network,
)
from moist.recipes.train_moe import network_document
from moist.storage import content_key, file_sha256, only_one, write_json
from moist.students import Student, upcycle_student
from moist.tasks import DistillTask, LossSettings
from moist.training import TrainingSettings, fit
from moist.types import Batch, TeacherSignal

__all__ = ["RefineSettings", "integrate", "load_refine", "refine_student", "upcycle_run"]

ROWS = 4096  # of the training part, for gathers that look at data


class RefineSettings(Settings):
    """How a gathered student is refined by distillation from the network that it was gathered from."""

    loss: LossSettings = Field(
        LossSettings(temperature=2.0, hard_weight=0.25), description="how it follows its teacher"
    )
    training: TrainingSettings = TrainingSettings(epochs=10, learning_rate=1e-3)
    seed: int = Field(0, ge=0, description="seed of the batches' order")


def upcycle_run(
    model: Path, sparse: SparseSettings, out: Path, *, noise: float = 0.0, quiet: bool = False
) -> Mapping[str, Any]:
    """Write the sparse network that a trained dense one grows into; it gives the same outputs at the start.

    Args:
        model: folder of a run of ``moist train-moe`` with a dense student.
        sparse: experts and router.
        out: folder of the new network; ``moist train-moe --start`` trains it further.
        noise: see :func:`moist.moe.upcycle`.
        quiet: show no progress.
    """
    dense = open_network(model, quiet=quiet)
    shape, classes = dense.data.transform.input_shape, dense.data.num_classes
    torch.manual_seed(dense.settings.seed)
    student, made = upcycle_student(dense.student, dense.settings.student, sparse, shape, classes, noise)
    settings = dense.settings.model_copy(update={"student": made})
    grown = _with(dense, settings, student)
    gap = float(abs(grown.logits("validation") - dense.logits("validation")).max())
    with only_one(out):
        save_network(out, settings, student)
        document = network_document(grown, f"moist upcycle {model}", 0.0)
        document["derived"] |= {"largest_change_of_a_logit": gap}
        write_json(out / "metrics.json", document)
    return document


def integrate(
    model: Path,
    method: GatherMethod,
    out: Path,
    *,
    refine: RefineSettings | None = None,
    unit_score: UnitScore = "norm",
    quiet: bool = False,
) -> Mapping[str, Any]:
    """Write one dense student made from a sparse network, with its numbers before and after refinement.

    Args:
        model: folder of a run of ``moist train-moe`` with experts.
        method: how experts are gathered.
        out: folder of the dense network.
        refine: how to distil the sparse network into it afterwards; None for not at all.
        unit_score: see :func:`moist.integration.to_dense`.
        quiet: show no progress.
    """
    moe = open_network(model, quiet=quiet)
    started = time.perf_counter()
    student, plain = to_dense(
        moe.student,
        moe.settings.student,
        moe.data.transform.input_shape,
        moe.data.num_classes,
        method,
        inputs=moe.data.inputs("train", ROWS),
        targets=torch.from_numpy(moe.data.targets("train", ROWS)),
        unit_score=unit_score,
    )
    gathering = time.perf_counter() - started
    settings = moe.settings.model_copy(update={"student": plain, "mutual_distillation": None})
    dense = _with(moe, settings, student)
    gathered = dense.measure()
    with only_one(out):
        key = content_key(file_sha256(model / WEIGHTS), method, unit_score, refine and refine.model_dump(mode="json"))
        claim_checkpoint(out, key)
        refining = 0.0 if refine is None else _refine(moe, dense, refine, out, quiet)
        save_network(out, settings, student)
        document = _document(moe, dense, gathered, method, unit_score, gathering + refining)
        document["derived"] |= {"seconds_gathering": round(gathering, 2), "seconds_refining": round(refining, 1)}
        if refine is not None:
            document["derived"]["refining_examples"] = refine.training.epochs * len(moe.data.splits.train)
        write_json(out / "metrics.json", document)
        (out / CHECKPOINT).unlink(missing_ok=True)
    return document


def load_refine(path: Path | None, overrides: tuple[str, ...] = ()) -> RefineSettings:
    """Read how to refine from a YAML file; None for the defaults."""
    values = {} if path is None else yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return load_config(RefineSettings, values, overrides)


def _document(
    moe: Network, dense: Network, gathered: Mapping[str, Any], method: str, unit_score: str, seconds: float
) -> dict[str, Any]:
    document = network_document(dense, f"moist integrate --method {method}", seconds)
    after = document["systems"]["dense"]
    document["systems"] = {"moe": moe.measure(), "gathered": dict(gathered), "dense": after}
    document["derived"] |= {"method": method, "unit_score": unit_score if method == "top-k" else None}
    document["verdict"] = (
        f"The network with experts has {document['systems']['moe']['accuracy']['mean']:.1%} of the test part, gathered "
        f"by {method} {gathered['accuracy']['mean']:.1%}, and in the end {after['accuracy']['mean']:.1%}."
    )
    return document


def _refine(moe: Network, dense: Network, refine: RefineSettings, out: Path, quiet: bool) -> float:
    started = time.perf_counter()
    with progress_bar("refining", 0, quiet=quiet) as advance:
        refine_student(moe, dense.student, refine, out / CHECKPOINT, advance)
    return time.perf_counter() - started


def refine_student(moe: Network, student: Student, refine: RefineSettings, checkpoint: Path, advance: Advance) -> None:
    """Distil a sparse network into a dense student, in place; a call that was interrupted goes on at ``checkpoint``."""
    settings = moe.settings.model_copy(update={"training": refine.training, "seed": refine.seed})
    task = DistillTask(student, _signals_of(moe.student), refine.loss)
    fit(
        task,
        moe.data.loader(settings),
        refine.training,
        seed=refine.seed,
        checkpoint=checkpoint,
        advance=advance,
    )


def _signals_of(student: Student) -> Callable[[Batch], TeacherSignal]:
    """Return the live signals of a network that reads what its student reads; it is never trained."""
    student.eval()

    @torch.no_grad()
    def speak(batch: Batch) -> TeacherSignal:
        return TeacherSignal(student(batch.inputs).float())

    return speak


def _with(network: Network, settings: NetworkSettings, student: Student) -> Network:
    data = type(network.data)(settings, network.data.splits, network.data.transform)
    return Network(data, student.eval())
