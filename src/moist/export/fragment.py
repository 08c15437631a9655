"""Pieces of ONNX graphs that are put together: one input, one output, nodes and weights between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moist.export.onnx_library import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

__all__ = ["Fragment", "Placed", "constant", "make_model", "value"]

OPSET = 20
IR_VERSION = 10
BATCH = "N"


@dataclass(frozen=True)
class Placed:
    """A fragment's nodes and weights under names of their own, and the name of what comes out."""

    nodes: tuple[NodeProto, ...]
    weights: tuple[TensorProto, ...]
    output: str


@dataclass(frozen=True)
class Fragment:
    """A piece of a graph.

    Args:
        nodes: in an order in which they can run.
        weights: constants that they read.
        input: name of what they read.
        output: name of what they give; the input's where there are no nodes.
        input_type: element type of the input, an ONNX number.
        input_shape: of one input, without the batch axis.
        output_shape: of one output, without the batch axis.
    """

    nodes: tuple[NodeProto, ...]
    weights: tuple[TensorProto, ...]
    input: str
    output: str
    input_type: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    def placed(self, prefix: str, reads: str) -> Placed:
        """Return it with every name below ``prefix``, reading the value ``reads``."""
        names = _Names(prefix, {self.input: reads, "": ""})
        weights = tuple(_renamed_weight(weight, names) for weight in self.weights)
        return Placed(tuple(_renamed_node(node, names) for node in self.nodes), weights, names[self.output])

    def model(self, name: str, *, softmax: bool = False) -> ModelProto:
        """Return it as a model of its own, of any number of inputs, with probabilities for logits on demand."""
        placed = self.placed("body/", "input")
        last = helper.make_node("Softmax" if softmax else "Identity", [placed.output], ["output"])
        graph = helper.make_graph(
            [*placed.nodes, last],
            name,
            [value("input", self.input_type, (BATCH, *self.input_shape))],
            [value("output", TensorProto.FLOAT, (BATCH, *self.output_shape))],
            placed.weights,
        )
        return make_model(graph)

    @classmethod
    def from_graph(cls, graph: GraphProto, input_shape: Sequence[int], output_shape: Sequence[int]) -> Fragment:
        """Return the fragment that a graph of one input and one output is."""
        first, last = graph.input[0], graph.output[0]
        return cls(
            tuple(graph.node),
            tuple(graph.initializer),
            first.name,
            last.name,
            first.type.tensor_type.elem_type,
            tuple(input_shape),
            tuple(output_shape),
        )


def value(name: str, kind: int, shape: Iterable[int | str]) -> ValueInfoProto:
    """Return the description of an input or an output."""
    return helper.make_tensor_value_info(name, kind, list(shape))


def make_model(graph: GraphProto) -> ModelProto:
    """Return a graph as a model."""
    opsets = [helper.make_opsetid("", OPSET)]
    if any(node.domain == "com.microsoft" for node in _all_nodes(graph)):
        opsets.append(helper.make_opsetid("com.microsoft", 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="moist")


def constant(name: str, values: np.ndarray) -> TensorProto:
    """Return a constant."""
    return numpy_helper.from_array(np.array(values, order="C"), name)  # not ascontiguousarray: it has no scalars


class _Names(Mapping[str, str]):
    """From old names to new ones; a name that is not known gets the prefix."""

    def __init__(self, prefix: str, known: Mapping[str, str]) -> None:
        self._prefix, self._known = prefix, dict(known)

    def __getitem__(self, name: str) -> str:
        return self._known.get(name, self._prefix + name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _renamed_node(node: NodeProto, names: Mapping[str, str]) -> NodeProto:
    renamed = NodeProto()
    renamed.CopyFrom(node)
    renamed.input[:] = [names[name] for name in node.input]
    renamed.output[:] = [names[name] for name in node.output]
    renamed.name = names[node.name or node.output[0]]
    renamed.ClearField("doc_string")
    renamed.ClearField("metadata_props")
    for attribute in renamed.attribute:
        for graph in _inner_graphs(attribute):
            _rename_graph(graph, names)
    return renamed


def _inner_graphs(attribute: AttributeProto) -> list[GraphProto]:
    # Merely to look at a field that is not set is fine; to change it would set it.
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _rename_graph(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Rename inside a branch or a loop's body, whose own inputs are names as well."""
    nodes = [_renamed_node(node, names) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for item in [*graph.input, *graph.output, *graph.initializer, *graph.value_info]:
        item.name = names[item.name]


def _renamed_weight(weight: TensorProto, names: Mapping[str, str]) -> TensorProto:
    renamed = TensorProto()
    renamed.CopyFrom(weight)
    renamed.name = names[weight.name]
    return renamed


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in _inner_graphs(attribute):
                yield from _all_nodes(inner)
