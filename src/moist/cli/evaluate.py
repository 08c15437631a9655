"""``moist evaluate``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moist.cli.matching import match_inputs, match_target
from moist.cli.opening import open_bundle
from moist.cli.output import print_columns, print_json, short
from moist.config import load_config
from moist.data import DataSettings, IndexedDataset, load_dataset, load_parts
from moist.data.catalog import BUILT_IN
from moist.evaluation import evaluate
from moist.mixture import MixtureOfSpecialists, Prediction, inspect_bundle
from moist.storage import default_cache_dir
from moist.types import UserError

__all__ = ["data_settings", "run_evaluate"]

# What describes a file's layout, and so holds for another file of the same make.
LAYOUT = ("input_column", "label_column", "drop_columns", "classes", "image_size", "on_error")


def run_evaluate(arguments: argparse.Namespace) -> None:
    """Measure a bundle on labelled data."""
    mixture = open_bundle(arguments)
    manifest = inspect_bundle(arguments.bundle)
    _choose_top_k(mixture, arguments.top_k)
    settings = data_settings(arguments.data, manifest)
    split, parts = _choose_parts(_read(settings, manifest), arguments.split)
    assert mixture.schema is not None
    schema = mixture.schema
    target = np.concatenate([match_target(part, mixture.classes) for part in parts])
    raw = np.concatenate([match_inputs(part, schema) for part in parts])
    result = _measure(mixture.predict_all(raw), target, manifest)
    result = {"bundle": manifest["path"], "data": parts[0].name, "split": split, **result}
    if arguments.json:
        print_json(result)
    else:
        _print(result)


def _choose_top_k(mixture: MixtureOfSpecialists, top_k: int | str | None) -> None:
    if top_k is None:
        return
    if isinstance(top_k, int) and top_k > mixture.num_domains:
        raise UserError(f"--top-k must be at most the {mixture.num_domains} specialists, got {top_k}; lower it")
    mixture.inference = mixture.inference.model_copy(update={"top_k": top_k})


def data_settings(data: str | None, manifest: Mapping[str, Any]) -> DataSettings:
    """Return which data to read: those named on the command line, else those that the bundle was made from.

    Raises:
        UserError: neither says.
    """
    stored = (manifest["config"] or {}).get("data")
    if data is None:
        if stored is None:
            raise UserError("this bundle does not say which data it was made from; name some with --data")
        return load_config(DataSettings, stored)
    if data in BUILT_IN and not Path(data).exists():
        return DataSettings(name=data)
    if not Path(data).exists():
        raise UserError(f"--data must be a built-in data set (moist data list) or a path, there is no {data}; mend it")
    if _made_from(data, manifest):
        return load_config(DataSettings, {**(stored or {}), "path": data})
    layout = {key: value for key, value in (stored or {}).items() if key in LAYOUT}
    return load_config(DataSettings, {**layout, "kind": manifest["input"]["kind"], "path": data})


def _made_from(path: str, manifest: Mapping[str, Any]) -> bool:
    own = (manifest["config"] or {}).get("data", {}).get("path")
    return own is not None and Path(path).resolve() == Path(own).resolve()


def _read(settings: DataSettings, manifest: Mapping[str, Any]) -> dict[str, IndexedDataset]:
    """Return the parts of the data by name: of those that the bundle was made from, as they were cut for training."""
    if settings.path is not None and not _made_from(settings.path, manifest):
        return load_parts(settings, default_cache_dir())
    splits = load_dataset(settings, default_cache_dir())
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: part for name, part in parts.items() if part is not None}


def _choose_parts(parts: Mapping[str, IndexedDataset], split: str | None) -> tuple[str, list[IndexedDataset]]:
    """Return what was asked for and its parts: by default the test part, or all where there is nothing but one part."""
    split = split or ("all" if len(parts) == 1 else "test")
    if split == "all":
        return split, list(parts.values())
    if split not in parts:
        name = parts["train"].name
        raise UserError(f"{name} has no {split} part, only {' and '.join(parts)}; choose another --split, or all")
    return split, [parts[split]]


def _measure(prediction: Prediction, target: np.ndarray, manifest: Mapping[str, Any]) -> dict[str, Any]:
    scores = evaluate(prediction.probabilities.numpy(), target)
    chosen = prediction.routing.expert_indices.numpy()
    load = np.bincount(chosen.ravel(), minlength=len(manifest["domains"])) / len(chosen)
    deferred = float(prediction.deferred.float().mean())
    return {
        "num_examples": scores.num_examples,
        "accuracy": scores.accuracy,
        "nll": scores.nll,
        "ece": scores.ece,
        "load": load.tolist(),
        "deferred": deferred,
        "active_macs": _active_macs(manifest, load.tolist(), deferred),
    }


def _active_macs(manifest: Mapping[str, Any], load: Sequence[float], deferred: float) -> float:
    """Return the mean cost of an input: the bundle's counts, weighted by what these data asked for."""
    costs = manifest["costs"]
    macs = costs["trunk"]["macs"] + costs["router"]["macs"]
    macs += sum(share * domain["macs"] for share, domain in zip(load, manifest["domains"]))
    if costs["generalist"] is not None:
        macs += deferred * costs["generalist"]["macs"]
    return float(macs)


def _print(result: Mapping[str, Any]) -> None:
    print(f"{result['data']}, {result['split']}: {result['num_examples']} inputs\n")
    print_columns(
        [
            ["accuracy", f"{result['accuracy']:.2%}"],
            ["negative log-likelihood", f"{result['nll']:.4f} nats"],
            ["calibration error (ECE)", f"{result['ece']:.4f}"],
            ["active MACs per input", short(result["active_macs"], 4)],
            ["deferred", f"{result['deferred']:.1%}"],
        ]
    )
    print("\ninputs served by each specialist")
    print_columns([[f"domain {k}", f"{share:.1%}"] for k, share in enumerate(result["load"])], indent="  ")
