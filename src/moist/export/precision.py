"""Which parts of a mixture run in int8: those that lose next to nothing by it, measured part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from moist.export.checking import run_fragment
from moist.export.fragment import Fragment
from moist.export.quantize import quantize
from moist.export.routed_graph import MixtureFragments
from moist.progress import track

__all__ = ["ExportData", "LabelledInputs", "choose_precision"]

LARGEST_LOSS = 0.005  # half a point
CALIBRATION_ROWS = 512
FEWEST_CALIBRATION_ROWS = 64
SAMPLED_ROWS = 16_384
FEWEST_JUDGED_ROWS = 200  # under that a single row would decide
SEED = 0


@dataclass(frozen=True)
class LabelledInputs:
    """Inputs as the exported graphs read them, and their classes (N,), numbered as the mixture's."""

    inputs: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class ExportData:
    """What int8 is calibrated on (``train``), chosen by (``validation``), and measured on at the end (``test``)."""

    train: LabelledInputs
    validation: LabelledInputs
    test: LabelledInputs | None


@dataclass(frozen=True)
class _Routed:
    """Inputs on their way: features, the specialists chosen (N, top_k), their weights, and all scores (N, K)."""

    features: np.ndarray
    domains: np.ndarray
    weights: np.ndarray
    scores: np.ndarray

    def rows_of(self, k: int) -> np.ndarray:
        return np.flatnonzero((self.domains == k).any(axis=1))


def choose_precision(
    parts: MixtureFragments, data: ExportData, *, quiet: bool = False
) -> tuple[MixtureFragments, dict[str, Any]]:
    """Return the mixture with every part in int8 that loses at most half a point by it, and the report.

    The trunk is calibrated on training inputs of all kinds and judged by the mixture's accuracy on the validation part;
    then each specialist on training inputs of its own domain, judged on those validation inputs that are routed to it
    (and the training inputs, where they are fewer than 200); then the generalist. Router and transform stay float32:
    they take next to no time, and decide everything.

    Args:
        parts: in float32.
        data: with labels; the test part is read only when all is chosen.
        quiet: show no progress.
    """
    sample = _sample(data.train)
    read = {name: run_fragment(parts.transform, each.inputs) for name, each in _named(data, sample)}
    chosen, trunk = _choose_trunk(parts, read, data.validation.target)
    routed = {name: _route(chosen, read[name]) for name in ("train", "validation")}
    target = {"train": sample.target, "validation": data.validation.target}
    specialists, entries = [], []
    for k in track(range(len(parts.specialists)), "specialists in int8", len(parts.specialists), quiet=quiet):
        specialist, entry = _choose_specialist(chosen.specialists[k], k, routed, target)
        specialists.append(specialist)
        entries.append(entry)
    chosen = replace(chosen, specialists=tuple(specialists))
    chosen, generalist = _choose_generalist(chosen, read, data.validation.target)
    report = {"largest_loss": LARGEST_LOSS, "trunk": trunk, "specialists": entries, "generalist": generalist}
    return chosen, {**report, "mixture": _compare(parts, chosen, read, data)}


def _sample(train: LabelledInputs) -> LabelledInputs:
    if len(train.inputs) <= SAMPLED_ROWS:
        return train
    rows = np.sort(np.random.default_rng(SEED).choice(len(train.inputs), SAMPLED_ROWS, replace=False))
    return LabelledInputs(train.inputs[rows], train.target[rows])


def _named(data: ExportData, sample: LabelledInputs) -> list[tuple[str, LabelledInputs]]:
    named = [("train", sample), ("validation", data.validation)]
    return named if data.test is None else [*named, ("test", data.test)]


def _some(rows: np.ndarray) -> np.ndarray:
    """Return at most ``CALIBRATION_ROWS`` of the rows, drawn by seed."""
    if len(rows) <= CALIBRATION_ROWS:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, CALIBRATION_ROWS, replace=False))


def _accuracy(scores: np.ndarray, target: np.ndarray) -> float:
    return float((scores.argmax(axis=1) == target).mean())


def _judge(before: Fragment, after: Fragment, accuracy: Callable[[Fragment], float]) -> tuple[Fragment, dict[str, Any]]:
    """Return the one to keep, and why."""
    first, second = accuracy(before), accuracy(after)
    keep_int8 = after is not before and first - second <= LARGEST_LOSS
    entry = {
        "precision": "int8" if keep_int8 else "float32",
        "accuracy_float32": first,
        "accuracy_int8": second if after is not before else None,
    }
    return after if keep_int8 else before, entry


def _choose_trunk(
    parts: MixtureFragments, read: dict[str, np.ndarray], target: np.ndarray
) -> tuple[MixtureFragments, dict[str, Any] | None]:
    if not parts.trunk.nodes:
        return parts, None
    rows = _some(np.arange(len(read["train"])))

    def accuracy(trunk: Fragment) -> float:
        return _accuracy(_answer(replace(parts, trunk=trunk), read["validation"])[0], target)

    trunk, entry = _judge(parts.trunk, quantize(parts.trunk, read["train"][rows]), accuracy)
    entry |= {"calibration_rows": len(rows), "judged_rows": len(target)}
    return replace(parts, trunk=trunk), entry


def _choose_specialist(
    specialist: Fragment, k: int, routed: dict[str, _Routed], target: dict[str, np.ndarray]
) -> tuple[Fragment, dict[str, Any]]:
    own, judged = routed["train"].rows_of(k), routed["validation"].rows_of(k)
    rows = _some(own)
    if len(rows) < FEWEST_CALIBRATION_ROWS:
        # A domain of hardly any inputs: those that come closest to it.
        rows = np.argsort(-routed["train"].scores[:, k], kind="stable")[:FEWEST_CALIBRATION_ROWS]
    features, labels = routed["validation"].features[judged], target["validation"][judged]
    if len(judged) < FEWEST_JUDGED_ROWS:
        more = own if len(own) else rows
        features = np.concatenate([features, routed["train"].features[more]])
        labels = np.concatenate([labels, target["train"][more]])

    def accuracy(each: Fragment) -> float:
        return _accuracy(run_fragment(each, features), labels)

    kept, entry = _judge(specialist, quantize(specialist, routed["train"].features[rows]), accuracy)
    return kept, {"domain": k, **entry, "calibration_rows": len(rows), "judged_rows": len(labels)}


def _choose_generalist(
    parts: MixtureFragments, read: dict[str, np.ndarray], target: np.ndarray
) -> tuple[MixtureFragments, dict[str, Any] | None]:
    if parts.generalist is None:
        return parts, None
    rows = _some(np.arange(len(read["train"])))

    def accuracy(each: Fragment) -> float:
        return _accuracy(run_fragment(each, read["validation"]), target)

    kept, entry = _judge(parts.generalist, quantize(parts.generalist, read["train"][rows]), accuracy)
    entry |= {"calibration_rows": len(rows), "judged_rows": len(target)}
    return replace(parts, generalist=kept), entry


def _route(parts: MixtureFragments, read: np.ndarray) -> _Routed:
    features = run_fragment(parts.trunk, read)
    scores = run_fragment(parts.gate, features if parts.reads == "trunk" else read)
    domains = np.argsort(-scores, axis=1, kind="stable")[:, : parts.top_k]
    best = np.take_along_axis(scores, domains, axis=1)
    return _Routed(features, domains, _softmax(best), scores)


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _answer(parts: MixtureFragments, read: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (N, C) and the first domain (N,) of inputs as students read them."""
    routed = _route(parts, read)
    probabilities = np.zeros((len(read), parts.num_classes), dtype=np.float32)
    for k, specialist in enumerate(parts.specialists):
        rows = routed.rows_of(k)
        if len(rows):
            weight = (routed.weights * (routed.domains == k))[rows].sum(axis=1, keepdims=True)
            probabilities[rows] += weight * _softmax(run_fragment(specialist, routed.features[rows]))
    if parts.threshold is not None and parts.generalist is not None:
        doubtful = probabilities.max(axis=1) < parts.threshold
        if doubtful.any():
            second = _softmax(run_fragment(parts.generalist, read[doubtful]))
            probabilities[doubtful] = (probabilities[doubtful] + second) / 2
    return probabilities, routed.domains[:, 0]


def _compare(
    before: MixtureFragments, after: MixtureFragments, read: dict[str, np.ndarray], data: ExportData
) -> dict[str, Any]:
    compared = {}
    for name, part in (("validation", data.validation), ("test", data.test)):
        if part is not None:
            (first, domain), (second, other) = _answer(before, read[name]), _answer(after, read[name])
            compared[name] = {
                "accuracy_float32": _accuracy(first, part.target),
                "accuracy_int8": _accuracy(second, part.target),
                "top1_agreement": float((first.argmax(axis=1) == second.argmax(axis=1)).mean()),
                "domain_agreement": float((domain == other).mean()),
                "rows": len(part.target),
            }
    return compared
