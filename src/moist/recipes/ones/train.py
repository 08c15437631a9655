"""The jobs of the studies: a network with experts, dense ones, and dense students made of the experts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import torch

from moist.config import load_config
from moist.evaluation import count_cost
from moist.integration import copy_shared, to_dense
from moist.progress import Advance
from moist.recipes.convert import RefineSettings, refine_student
from moist.recipes.networks import (
    CHECKPOINT,
    Network,
    NetworkData,
    NetworkSettings,
    load_data,
    open_network,
    save_network,
)
from moist.recipes.train_moe import make_task
from moist.students import Student, upcycle_student
from moist.training import fit

__all__ = ["COPIED", "make_student", "train_network"]

Payload = dict[str, Any]
BACKWARD = 2  # a backward pass costs two forward ones
EXAMPLES = 64  # inputs to count costs on
COPIED = "copied"  # the start that has the shared weights of the network with experts, and fresh dense layers
ROWS = 4096  # of the training part, for gathers that look at data


def train_network(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Train a network on labels, keep it in ``folder``, and score it.

    The payload holds ``settings`` of a network with experts, and ``dense``: None for the network itself; ``epochs`` for
    the dense network of an expert's width and as many epochs; ``compute`` for one of as many epochs as cost what the
    network with experts and then a student's refinement (payload ``refine``) cost. ``origin`` is the folder of a dense
    network that experts grow from; ``before`` are its epochs, which the dense networks have too.
    """
    data = load_data(load_config(NetworkSettings, payload["settings"]), quiet=True)
    if payload["dense"] is not None:
        refine = load_config(RefineSettings, payload["refine"]) if payload["dense"] == "compute" else None
        data = _dense(data, payload.get("before", 0), refine)
    settings = data.settings
    student = data.create() if payload.get("origin") is None else _grown(data, Path(payload["origin"]))
    fit(
        make_task(settings, student),
        data.loader(),
        settings.training,
        seed=settings.seed,
        checkpoint=folder / CHECKPOINT,
        advance=advance,
    )
    save_network(folder, settings, student)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return {"epochs": settings.training.epochs, "after": score(Network(data, student.eval()))}


def _grown(data: NetworkData, origin: Path) -> Student:
    """Return the network with experts that starts by giving what a trained dense one gives."""
    dense, sparse = open_network(origin, quiet=True), data.settings.student.sparse
    assert sparse is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(data.settings.seed)
        shape = data.transform.input_shape
        return upcycle_student(dense.student, dense.settings.student, sparse, shape, data.num_classes)[0]


def _dense(data: NetworkData, before: int, refine: RefineSettings | None) -> NetworkData:
    settings, training = data.settings, data.settings.training
    plain = settings.student.model_copy(update={"sparse": None})
    epochs = before + training.epochs
    if refine is not None:
        example = data.inputs("train", EXAMPLES)
        sparse, dense = (count_cost(data.create(each), example).macs for each in (settings.student, plain))
        whole = 1 + BACKWARD
        spent = training.epochs * whole * sparse + refine.training.epochs * (whole * dense + sparse)
        epochs = before + ceil(spent / (whole * dense))
    training = training.model_copy(update={"epochs": epochs})
    return replace(data, settings=settings.model_copy(update={"student": plain, "training": training}))


def make_student(payload: Payload, folder: Path, advance: Advance) -> dict[str, Any]:
    """Make a dense student of a trained network with experts, refine it, and score it before and after.

    The payload holds the network's ``moe`` folder, the gather's ``method``, None for a student that starts from random
    weights, or ``copied`` for one that has all but the experts, its ``unit_score``, and ``refine``.
    """
    moe = open_network(Path(payload["moe"]), quiet=True)
    student, before = _start(moe, payload)
    settings = moe.settings.model_copy(
        update={"student": moe.settings.student.model_copy(update={"sparse": None}), "mutual_distillation": None}
    )
    dense = Network(replace(moe.data, settings=settings), student)
    gathered = score(dense) if before else None
    refine = load_config(RefineSettings, payload["refine"])
    refine_student(moe, student, refine, folder / CHECKPOINT, advance)
    save_network(folder, settings, student)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return {"epochs": refine.training.epochs, "before": gathered, "after": score(Network(dense.data, student.eval()))}


def _start(moe: Network, payload: Mapping[str, Any]) -> tuple[Student, bool]:
    """Return the student as it starts, and whether it knows anything yet."""
    if payload["method"] is None:
        return moe.data.create(moe.settings.student.model_copy(update={"sparse": None})), False
    network = (moe.student, moe.settings.student, moe.data.transform.input_shape, moe.data.num_classes)
    if payload["method"] == COPIED:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(moe.settings.seed)
            return copy_shared(*network), True
    student, _ = to_dense(
        *network,
        payload["method"],
        inputs=moe.data.inputs("train", ROWS),
        targets=torch.from_numpy(moe.data.targets("train", ROWS)),
        unit_score=payload["unit_score"],
    )
    return student, True


def score(network: Network) -> dict[str, Any]:
    """Return accuracies on the validation and test parts, and what an input costs."""
    test = network.measure("test")
    costs = {key: test[key] for key in ("active_macs", "active_params", "total_params", "bytes")}
    validation = network.measure("validation")["accuracy"]["mean"]
    return {"validation": validation, "test": test["accuracy"]["mean"], "nll": test["nll"], **costs}
