"""``moist predict``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moist.cli.opening import open_bundle
from moist.cli.output import one_line, print_json
from moist.data import Schema, TableSchema, TextSchema, read_inputs
from moist.mixture import MixtureOfSpecialists
from moist.types import UserError

__all__ = ["run_predict"]

STDIN = "-"


def run_predict(arguments: argparse.Namespace) -> None:
    """Classify inputs and print a line for each."""
    mixture = open_bundle(arguments)
    assert mixture.schema is not None
    read = [_read(source, mixture.schema) for source in arguments.inputs]
    names = [name for own, _ in read for name in own]
    predictions = _predict(mixture, names, np.concatenate([raw for _, raw in read]), arguments.top)
    if arguments.json:
        print_json({"predictions": predictions})
    else:
        _print(predictions)


def _read(source: str, schema: Schema) -> tuple[list[str], np.ndarray]:
    """Return the inputs of one argument: what to call each, and the raw inputs."""
    if source == STDIN:
        return _read_stdin(schema)
    raw = read_inputs([source], schema)
    if len(raw) > 1 or _is_file_of_rows(source, schema):
        return [f"{source}:{row}" for row in range(1, len(raw) + 1)], raw
    return [source], raw


def _is_file_of_rows(source: str, schema: Schema) -> bool:
    return isinstance(schema, TableSchema) or (isinstance(schema, TextSchema) and Path(source).is_file())


def _read_stdin(schema: Schema) -> tuple[list[str], np.ndarray]:
    if isinstance(schema, TableSchema):
        raise UserError("rows of a table must come in a file, got '-' (standard input); give a CSV or Parquet file")
    lines = sys.stdin.read().splitlines()
    if isinstance(schema, TextSchema):
        # Every line is a text, an empty one too, so that answers stay in step with lines.
        names, raw = lines, np.array([*lines, None], dtype=object)[:-1]
    else:
        names = [line for line in lines if line.strip()]
        raw = read_inputs(names, schema) if names else np.empty(0)
    if not names:
        raise UserError("at least one input must be given, standard input holds none; write one a line")
    return names, raw


def _predict(mixture: MixtureOfSpecialists, names: Sequence[str], raw: np.ndarray, top: int) -> list[dict[str, Any]]:
    prediction = mixture.predict_all(raw)
    values, classes = prediction.probabilities.topk(min(top, len(mixture.classes)), dim=1)
    domains, deferred = prediction.routing.expert_indices[:, 0].tolist(), prediction.deferred.tolist()
    results = []
    for row, name in enumerate(names):
        best = [
            {"label": mixture.classes[code], "probability": value}
            for code, value in zip(classes[row].tolist(), values[row].tolist())
        ]
        results.append({"input": name, **best[0], "domain": domains[row], "deferred": deferred[row], "top": best})
    return results


def _print(predictions: Sequence[Mapping[str, Any]]) -> None:
    more = range(2, len(predictions[0]["top"]) + 1)
    head = ["input", "label", "probability", "domain", "deferred"]
    print("\t".join([*head, *(name for n in more for name in (f"label_{n}", f"probability_{n}"))]))
    for entry in predictions:
        words = [one_line(entry["input"]), one_line(entry["label"]), f"{entry['probability']:.4f}"]
        words += [str(entry["domain"]), "yes" if entry["deferred"] else "no"]
        for other in entry["top"][1:]:
            words += [one_line(other["label"]), f"{other['probability']:.4f}"]
        print("\t".join(words))
