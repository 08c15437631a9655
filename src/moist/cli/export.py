"""``moist export``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

import torch

from moist.cli.evaluate import data_settings
from moist.cli.matching import match_inputs, match_target
from moist.cli.output import print_columns, print_json, short
from moist.data import DataSplits, IndexedDataset, load_dataset, schema_from_dict, transform_from_dict
from moist.export import ExportData, LabelledInputs, export_bundle, graph_inputs
from moist.mixture import inspect_bundle
from moist.runtime import EXPORT_FOLDER
from moist.storage import default_cache_dir

__all__ = ["export_data", "run_export"]


def run_export(arguments: argparse.Namespace) -> None:
    """Write a bundle as ONNX graphs and say what came of it."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    facts = inspect_bundle(arguments.bundle)
    int8 = export_data(arguments.data, facts) if arguments.int8 else None
    manifest = export_bundle(
        arguments.bundle, arguments.out, int8=int8, allow_factory=arguments.allow_factory, quiet=arguments.quiet
    )
    folder = arguments.out or f"{arguments.bundle}/{EXPORT_FOLDER}"
    if arguments.json:
        print_json({"path": str(folder), **manifest})
    else:
        _print(str(folder), manifest)


def export_data(named: str | None, facts: Mapping[str, Any]) -> ExportData:
    """Return the data to calibrate on: those named, else those that the bundle was made from.

    Raises:
        UserError: they are not found, have no labels, or look otherwise than what the bundle reads.
    """
    splits: DataSplits = load_dataset(data_settings(named, facts), default_cache_dir())
    schema, transform = schema_from_dict(facts["input"]), transform_from_dict(facts["transform"])
    classes = tuple(facts["classes"])

    def labelled(part: IndexedDataset) -> LabelledInputs:
        return LabelledInputs(graph_inputs(transform, match_inputs(part, schema)), match_target(part, classes))

    test = None if splits.test is None else labelled(splits.test)
    return ExportData(labelled(splits.train), labelled(splits.validation), test)


def _print(folder: str, manifest: Mapping[str, Any]) -> None:
    total = sum(record["bytes"] for record in manifest["files"].values())
    print(f"{folder}: {len(manifest['files'])} files, {total:,} bytes, {manifest['num_domains']} specialists")
    report = manifest["int8"]
    if report is None:
        return
    rows = [["PART", "PRECISION", "FLOAT32", "INT8", "JUDGED ON"]]
    for name, entry in _parts(report):
        after = entry["accuracy_int8"]
        shown = [f"{entry['accuracy_float32']:.2%}", "-" if after is None else f"{after:.2%}"]
        rows.append([name, entry["precision"], *shown, f"{entry['judged_rows']} rows"])
    print()
    print_columns(rows)
    print()
    for name, entry in report["mixture"].items():
        before, after, same = (entry[key] for key in ("accuracy_float32", "accuracy_int8", "top1_agreement"))
        print(f"mixture, {name} part: {before:.2%} in float32, {after:.2%} in int8, same class for {same:.2%}")
    print(f"multiply-accumulates per input: {short(manifest['costs']['active']['macs'], 4)}")


def _parts(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    shared = [(name, report[name]) for name in ("trunk", "generalist") if report[name] is not None]
    return [*shared, *((f"domain {entry['domain']}", entry) for entry in report["specialists"])]
