"""Transforms as graphs: from raw uint8 images, token ids or table rows to what a student reads."""

from __future__ import annotations

import numpy as np

from moist.data import ImageTransform, TableTransform, TextTransform, Transform
from moist.errors import UserError
from moist.export.fragment import Fragment, constant
from moist.export.onnx_library import NodeProto, TensorProto, helper

__all__ = ["transform_fragment"]

RAW, READ = "raw", "read"
SMALL_IMAGE = 64 * 64


def transform_fragment(transform: Transform) -> Fragment:
    """Return the graph that does what ``transform`` does to raw inputs.

    Texts are the exception: hashing strings is no ONNX operation, so token ids (N, L) int64 go in.

    Raises:
        UserError: it is a transform of an unknown kind.
    """
    if isinstance(transform, ImageTransform):
        return _image(transform)
    if isinstance(transform, TableTransform):
        return _table(transform)
    if isinstance(transform, TextTransform):
        length = (transform.max_length,)
        return Fragment((), (), RAW, RAW, TensorProto.INT64, length, length)
    raise UserError(
        f"an export knows the transforms of images, texts and tables, got {type(transform).__name__}; use one of them"
    )


def _image(transform: ImageTransform) -> Fragment:
    schema = transform.schema
    std, mean = np.array(transform.std), np.array(transform.mean)
    # ONNX Runtime may turn images after this arithmetic instead of before; one number for each channel is then a loop
    # of three for each pixel, which takes longer than a convolution. Small images have one for each value instead.
    small = schema.height * schema.width <= SMALL_IMAGE
    sides = (schema.height, schema.width) if small else (1, 1)
    weights = tuple(
        constant(name, np.broadcast_to(values.astype(np.float32).reshape(1, -1, 1, 1), (1, schema.channels, *sides)))
        for name, values in {"scale": 1 / (255 * std), "shift": mean / std}.items()
    )
    # Turned while still bytes, a quarter of the memory.
    nodes = (
        helper.make_node("Transpose", [RAW], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["turned"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "shift"], [READ]),
    )
    raw = (schema.height, schema.width, schema.channels)
    return Fragment(nodes, weights, RAW, READ, TensorProto.UINT8, raw, transform.input_shape.shape)


def _table(transform: TableTransform) -> Fragment:
    kinds = [column.kind for column in transform.schema.columns]
    numeric = np.array([i for i, kind in enumerate(kinds) if kind == "numeric"], dtype=np.int64)
    categorical = np.array([i for i, kind in enumerate(kinds) if kind == "categorical"], dtype=np.int64)
    weights = [
        constant("numeric", numeric),
        constant("categorical", categorical),
        constant("marked", np.array(transform.marked, dtype=np.int64)),
        # In double precision, as in training: years less their mean would lose digits otherwise.
        constant("mean", np.array(transform.mean, dtype=np.float64)),
        constant("std", np.array(transform.std, dtype=np.float64)),
        constant("none", np.array(0, dtype=np.float32)),
        constant("one", np.array(1, dtype=np.float32)),
    ]
    nodes, parts = _numeric_nodes(marks=bool(transform.marked)) if len(numeric) else ([], [])
    if len(categorical):
        nodes += _categorical_nodes()
        parts.append("codes")
    nodes.append(helper.make_node("Concat", parts, [READ], axis=1))
    used = {name for node in nodes for name in node.input}
    kept = tuple(weight for weight in weights if weight.name in used)
    return Fragment(tuple(nodes), kept, RAW, READ, TensorProto.FLOAT, (len(kinds),), tuple(transform.input_shape.shape))


def _numeric_nodes(*, marks: bool) -> tuple[list[NodeProto], list[str]]:
    nodes = [
        helper.make_node("Gather", [RAW, "numeric"], ["numbers"], axis=1),
        helper.make_node("IsNaN", ["numbers"], ["missing"]),
        helper.make_node("Cast", ["numbers"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Sub", ["wide", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["divided"]),
        helper.make_node("Cast", ["divided"], ["narrow"], to=TensorProto.FLOAT),
        helper.make_node("Where", ["missing", "none", "narrow"], ["standard"]),
    ]
    if not marks:
        return nodes, ["standard"]
    nodes += [
        helper.make_node("Cast", ["missing"], ["missing_numbers"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["missing_numbers", "marked"], ["marks"], axis=1),
    ]
    return nodes, ["standard", "marks"]


def _categorical_nodes() -> list[NodeProto]:
    return [
        helper.make_node("Gather", [RAW, "categorical"], ["categories"], axis=1),
        helper.make_node("IsNaN", ["categories"], ["unknown"]),
        helper.make_node("Add", ["categories", "one"], ["next"]),
        helper.make_node("Where", ["unknown", "none", "next"], ["codes"]),
    ]
