"""Whole graphs out of fragments: the routed one, and those of the router and of each specialist alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from moist.export.fragment import BATCH, Fragment, constant, make_model, value
from moist.export.onnx_library import GraphProto, ModelProto, NodeProto, TensorProto, helper

__all__ = ["MixtureFragments", "routed_model", "router_model", "whole_model"]

RAW = "raw"


@dataclass(frozen=True)
class MixtureFragments:
    """A mixture in pieces.

    Args:
        transform: raw inputs to what students read.
        trunk: shared stages; no nodes where there are none.
        gate: scores (N, K).
        specialists: K of them, features to logits (N, C).
        generalist: what students read to logits (N, C), where the mixture has one to defer to.
        reads: what the gate reads.
        top_k: specialists that answer an input.
        threshold: confidence under which an input is deferred; None for never.
        load: (K,) share of the inputs that each specialist serves: those that serve more are found in fewer steps.
    """

    transform: Fragment
    trunk: Fragment
    gate: Fragment
    specialists: tuple[Fragment, ...]
    generalist: Fragment | None
    reads: Literal["inputs", "trunk"]
    top_k: int
    threshold: float | None
    load: tuple[float, ...]

    @property
    def num_classes(self) -> int:
        """C."""
        return self.specialists[0].output_shape[0]


class _Builder:
    """Collects the nodes and weights of one graph."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def place(self, fragment: Fragment, prefix: str, reads: str) -> str:
        """Add a fragment and return the name of its output."""
        placed = fragment.placed(prefix, reads)
        self.nodes += placed.nodes
        self.weights += placed.weights
        return placed.output

    def add(self, operation: str, reads: Sequence[str], gives: str, **attributes: Any) -> str:
        """Add a node of one output and return its name."""
        self.nodes.append(helper.make_node(operation, list(reads), [gives], name=gives, **attributes))
        return gives

    def constant(self, name: str, values: np.ndarray) -> str:
        """Add a constant and return its name."""
        self.weights.append(constant(name, values))
        return name

    def features(self, parts: MixtureFragments) -> tuple[str, str, str]:
        """Add transform, trunk and gate; return the names of inputs, features and scores."""
        inputs = self.place(parts.transform, "transform/", RAW)
        features = self.place(parts.trunk, "trunk/", inputs)
        scores = self.place(parts.gate, "gate/", features if parts.reads == "trunk" else inputs)
        return inputs, features, scores

    def rename(self, old: str, new: str) -> None:
        """Call a value by another name; an input of the graph is copied, for it cannot be an output too."""
        if old == RAW:
            self.add("Identity", [old], new)
            return
        for node in self.nodes:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == old:
                        names[place] = new

    def choose(self, scores: str, top_k: int) -> None:
        """Add the choice of the best: ``domains`` (N, top_k), and of several ``weights`` (N, top_k), which sum to 1."""
        self.constant("top_k", np.array([top_k], dtype=np.int64))
        self.nodes.append(helper.make_node("TopK", [scores, "top_k"], ["best", "domains"], name="choose", axis=1))
        if top_k > 1:  # softmax over the chosen scores is softmax over all, renormalised
            self.add("Softmax", ["best"], "weights", axis=1)


def router_model(parts: MixtureFragments) -> ModelProto:
    """Return raw inputs (N, ...) to features (N, ...) and domains (N, top_k), of several with weights (N, top_k).

    It has no node that one input could do without: those that answer it wait for this graph, then for a specialist's.
    """
    build = _Builder()
    _, features, scores = build.features(parts)
    build.choose(scores, parts.top_k)
    build.rename(features, "features")
    outputs = [
        value("features", _features_type(parts), (BATCH, *parts.trunk.output_shape)),
        value("domains", TensorProto.INT64, (BATCH, parts.top_k)),
    ]
    if parts.top_k > 1:
        outputs.append(value("weights", TensorProto.FLOAT, (BATCH, parts.top_k)))
    raw = value(RAW, parts.transform.input_type, (BATCH, *parts.transform.input_shape))
    return make_model(helper.make_graph(build.nodes, "router", [raw], outputs, build.weights))


def whole_model(transform: Fragment, student: Fragment) -> ModelProto:
    """Return raw inputs (N, ...) to probabilities (N, C) of one whole student."""
    build = _Builder()
    logits = build.place(student, "student/", build.place(transform, "transform/", RAW))
    build.add("Softmax", [logits], "probabilities", axis=1)
    raw = value(RAW, transform.input_type, (BATCH, *transform.input_shape))
    output = value("probabilities", TensorProto.FLOAT, (BATCH, *student.output_shape))
    return make_model(helper.make_graph(build.nodes, "student", [raw], [output], build.weights))


def _features_type(parts: MixtureFragments) -> int:
    """Return the type of what specialists read: token ids where texts meet them without a trunk, else numbers."""
    return parts.specialists[0].input_type


def routed_model(parts: MixtureFragments) -> ModelProto:
    """Return one raw input (1, ...) to probabilities (1, C), domains (1, top_k), and deferred (1,) where it defers.

    Nested ``If`` nodes lead to the chosen specialist, which alone runs; with several to choose a ``Loop`` goes through
    them. Every weight stands there once.
    """
    build = _Builder()
    inputs, features, scores = build.features(parts)
    if parts.top_k == 1:
        build.add("ArgMax", [scores], "domain", axis=1, keepdims=0)
        build.add("Unsqueeze", ["domain", build.constant("second_axis", np.array([1], dtype=np.int64))], "domains")
        logits = _tree(build, parts, features, "domain")
        probabilities = build.add("Softmax", [logits], "answer", axis=1)
    else:
        build.choose(scores, parts.top_k)
        probabilities = _loop(build, parts, features)
    outputs = [
        value("probabilities", TensorProto.FLOAT, (1, parts.num_classes)),
        value("domains", TensorProto.INT64, (1, parts.top_k)),
    ]
    if parts.threshold is not None:
        probabilities = _defer(build, parts, inputs, probabilities)
        outputs.append(value("deferred", TensorProto.BOOL, (1,)))
    build.add("Identity", [probabilities], "probabilities")
    raw = value(RAW, parts.transform.input_type, (1, *parts.transform.input_shape))
    return make_model(helper.make_graph(build.nodes, "routed", [raw], outputs, build.weights))


def _tree(build: _Builder, parts: MixtureFragments, features: str, domain: str) -> str:
    """Add the nested ``If`` nodes over all specialists; return the name of the logits."""
    return _split(build, parts, features, domain, 0, len(parts.specialists), "logits")


def _split(
    build: _Builder, parts: MixtureFragments, features: str, domain: str, first: int, end: int, gives: str
) -> str:
    """Add what answers for the specialists ``first`` to ``end`` - 1: one of them, or an ``If`` between two halves."""
    if end - first == 1:
        return build.place(parts.specialists[first], f"specialist-{first:03d}/", features)
    middle = _balanced(parts.load, first, end)
    limit = build.constant(f"{gives}/limit", np.array(middle, dtype=np.int64))
    under = build.add("Less", [domain, limit], f"{gives}/under")

    def branch(start: int, stop: int, side: str) -> GraphProto:
        inner = _Builder()
        name = _split(inner, parts, features, domain, start, stop, f"{gives}/{side}")
        output = value(name, TensorProto.FLOAT, (1, parts.num_classes))
        return helper.make_graph(inner.nodes, name, [], [output], inner.weights)

    low, high = branch(first, middle, "low"), branch(middle, end, "high")
    return build.add("If", [under], gives, then_branch=low, else_branch=high)


def _balanced(load: Sequence[float], first: int, end: int) -> int:
    """Return where to cut so that both sides serve about equally much, neither being empty."""
    total = sum(load[first:end])
    if total <= 0:
        return (first + end) // 2
    served, best, middle = 0.0, float("inf"), first + 1
    for cut in range(first + 1, end):
        served += load[cut - 1]
        if abs(2 * served - total) < best:
            best, middle = abs(2 * served - total), cut
    return middle


def _loop(build: _Builder, parts: MixtureFragments, features: str) -> str:
    """Add a ``Loop`` over the chosen specialists, which adds their weighted probabilities up."""
    body = _Builder()
    axis = {"axis": 1}
    domain = body.add("Gather", ["domains", "turn"], "turn/domain", **axis)
    body.add("Gather", ["weights", "turn"], "turn/weight", **axis)
    body.add("Softmax", [_tree(body, parts, features, domain)], "turn/answer", **axis)
    body.add("Mul", ["turn/answer", "turn/weight"], "turn/weighted")
    body.add("Add", ["sum_before", "turn/weighted"], "sum_after")
    body.add("Identity", ["go_on"], "go_on_after")
    shape = (1, parts.num_classes)
    inner = helper.make_graph(
        body.nodes,
        "turn",
        [
            value("turn", TensorProto.INT64, ()),
            value("go_on", TensorProto.BOOL, ()),
            value("sum_before", TensorProto.FLOAT, shape),
        ],
        [value("go_on_after", TensorProto.BOOL, ()), value("sum_after", TensorProto.FLOAT, shape)],
        body.weights,
    )
    build.constant("turns", np.array(parts.top_k, dtype=np.int64))
    build.constant("always", np.array(True))
    build.constant("nothing", np.zeros(shape, dtype=np.float32))
    return build.add("Loop", ["turns", "always", "nothing"], "answer", body=inner)


def _defer(build: _Builder, parts: MixtureFragments, inputs: str, probabilities: str) -> str:
    """Add the mark of doubtful inputs and, where there is one to ask, the generalist; return the outcome's name."""
    build.constant("last_axis", np.array([1], dtype=np.int64))
    build.add("ReduceMax", [probabilities, "last_axis"], "confidence", keepdims=0)
    build.constant("threshold", np.array(parts.threshold, dtype=np.float32))
    build.add("Less", ["confidence", "threshold"], "deferred")
    if parts.generalist is None:
        return probabilities
    asked = _Builder()
    asked.add("Softmax", [asked.place(parts.generalist, "generalist/", inputs)], "second", axis=1)
    asked.add("Add", [probabilities, "second"], "both")
    asked.add("Mul", ["both", asked.constant("half", np.array(0.5, dtype=np.float32))], "mean")
    kept = _Builder()
    kept.add("Identity", [probabilities], "first")
    shape = (1, parts.num_classes)
    ask = helper.make_graph(asked.nodes, "ask", [], [value("mean", TensorProto.FLOAT, shape)], asked.weights)
    keep = helper.make_graph(kept.nodes, "keep", [], [value("first", TensorProto.FLOAT, shape)], kept.weights)
    return build.add("If", ["deferred"], "answer_after", then_branch=ask, else_branch=keep)
