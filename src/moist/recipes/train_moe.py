"""Train one network on labels: dense, sparse, or sparse with experts that learn from each other."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Mapping
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from moist.config import dump_config
from moist.progress import progress_bar, say
from moist.recipes.networks import (
    CHECKPOINT,
    WEIGHTS,
    Network,
    NetworkData,
    NetworkSettings,
    claim_checkpoint,
    load_data,
    save_network,
)
from moist.recipes.results import SCHEMA, machine
from moist.storage import content_key, only_one, read_json, write_json
from moist.students import Student
from moist.tasks import MoETask, MutualTask
from moist.training import fit, joined_ranks

__all__ = ["make_task", "network_document", "train_moe"]


def train_moe(
    settings: NetworkSettings, out: Path, *, start: Path | None = None, quiet: bool = False
) -> Mapping[str, Any]:
    """Train a network and measure it; writes ``model.safetensors``, ``metrics.json`` and ``config.yaml`` into ``out``.

    The same call goes on where an interrupted one stopped; once complete, it only returns the metrics. Under
    ``torchrun`` all its processes train the one network together, and the first of them writes.

    Args:
        settings: what to do.
        out: folder of the run.
        start: folder of a network with the same student, whose weights to start from (an upcycled one); None for fresh
            ones.
        quiet: show no progress.

    Raises:
        UserError: something in the data or the configuration that the user can mend.
    """
    key = content_key(settings.model_dump(mode="json"), None if start is None else str(start))
    finished = out / "metrics.json"
    if finished.exists() and read_json(finished).get("key") == key:
        if not quiet:
            say(f"{out} is complete; nothing to do (choose another --out, or delete it, to run again)")
        return _metrics(finished)
    with joined_ranks() as ranks:
        data = load_data(settings, quiet=quiet or not ranks.first)
        student = data.create()
        if start is not None:
            student.load_state_dict(load_file(start / WEIGHTS))
        with only_one(out) if ranks.first else nullcontext():
            if ranks.first:
                claim_checkpoint(out, key)
                dump_config(settings, out / "config.yaml")
            ranks.wait()
            history, seconds = _train(data, student, out, quiet or not ranks.first)
            if ranks.first:
                save_network(out, settings, student)
                document = network_document(Network(data, student), f"moist train-moe {settings.name}", seconds)
                write_json(finished, {**document, "history": history, "key": key})
                (out / CHECKPOINT).unlink(missing_ok=True)
            ranks.wait()
    return _metrics(finished)


def _metrics(path: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = read_json(path)
    return metrics


def network_document(network: Network, command: str, seconds: float) -> dict[str, Any]:
    """Return one network's numbers as a result document."""
    settings, splits = network.settings, network.data.splits
    kind = "dense" if settings.student.sparse is None else "moe" if settings.mutual_distillation is None else "mode"
    measured = network.measure()
    return {
        "schema": SCHEMA,
        "name": settings.name,
        "command": command,
        "date": datetime.date.today().isoformat(),
        "data": {
            "name": splits.train.name,
            "train": len(splits.train),
            "validation": len(splits.validation),
            "test": 0 if splits.test is None else len(splits.test),
            "classes": network.data.num_classes,
        },
        "teacher": {},
        "seeds": [settings.seed],
        "versions": {"moist": version("moist"), "python": platform.python_version(), "torch": torch.__version__},
        "machine": machine(),
        "seconds": round(seconds, 1),
        "systems": {kind: measured},
        "frontier": [],
        "derived": {"validation_accuracy": network.measure("validation")["accuracy"]["mean"]},
        "published": {},
        "notes": [],
        "verdict": f"{kind}: {measured['accuracy']['mean']:.1%} of the test part at {measured['active_macs']:.4g} MACs",
    }


def make_task(settings: NetworkSettings, student: Student) -> nn.Module:
    """Return the task that the settings ask for."""
    sparse, mutual = settings.student.sparse, settings.mutual_distillation
    if mutual is None:
        return MoETask(student, sparse, settings.label_smoothing)
    return MutualTask(student, sparse, mutual, settings.label_smoothing)


def _train(data: NetworkData, student: Student, out: Path, quiet: bool) -> tuple[list[dict[str, float]], float]:
    settings, loader = data.settings, data.loader()
    started = time.perf_counter()
    with progress_bar(settings.name, settings.training.epochs * len(loader), quiet=quiet) as advance:
        task = make_task(settings, student)
        history = fit(task, loader, settings.training, seed=settings.seed, checkpoint=out / CHECKPOINT, advance=advance)
    return history, time.perf_counter() - started
