"""From torch modules to graphs, each checked against what torch gives."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from moist.errors import UserError
from moist.export.checking import largest_difference, run_fragment
from moist.export.fragment import OPSET, Fragment
from moist.export.onnx_library import ModelProto, TensorProto, optimize

__all__ = ["TOLERANCE", "capture"]

TOLERANCE = 1e-4
TRACED_ROWS = 2
INTERNAL_LOGS = "torch.onnx._internal.exporter._registration"


def capture(module: nn.Module, example: Tensor, name: str) -> Fragment:
    """Return the graph of ``module`` in evaluation mode.

    Args:
        module: one tensor in, one tensor out, both with a batch axis.
        example: (N, ...) inputs, N at least 3, so that a graph that holds for one number of inputs only is found out.
        name: what to call the module in an error.

    Raises:
        UserError: the module has operations that ONNX has not, or the graph gives something else than torch does.
    """
    if isinstance(module, nn.Identity):
        return _nothing(example)
    with torch.inference_mode():
        expected = module.eval()(example).numpy()
    problem = "the exporter gave no reason"
    # The older exporter takes a tenth of a second where the newer one takes many, and covers nearly all students.
    for export in (_trace, _program):
        try:
            fragment = _fragment(export, module, example, expected)
            difference = largest_difference(run_fragment(fragment, example.numpy()), expected)
        except Exception as error:  # they pass on whatever a module raises, and have errors of their own
            problem = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            continue
        if difference <= TOLERANCE:
            return fragment
        problem = f"its graph differs by {difference:.3g} from what torch gives, more than {TOLERANCE:g}"
    raise UserError(
        f"an exported student must have a graph in ONNX that gives what torch gives, {name} has none ({problem}); use "
        "operations that ONNX has, on any number of inputs, or use the bundle by moist.load_bundle"
    )


def _nothing(example: Tensor) -> Fragment:
    kind = TensorProto.INT64 if example.dtype == torch.int64 else TensorProto.FLOAT
    return Fragment((), (), "input", "input", kind, tuple(example.shape[1:]), tuple(example.shape[1:]))


def _fragment(
    export: Callable[[nn.Module, Tensor], ModelProto], module: nn.Module, example: Tensor, expected: np.ndarray
) -> Fragment:
    with _quiet(), torch.no_grad():
        model = export(module, example[:TRACED_ROWS])
    return Fragment.from_graph(model.graph, example.shape[1:], expected.shape[1:])


def _trace(module: nn.Module, example: Tensor) -> ModelProto:
    file = io.BytesIO()
    torch.onnx.export(
        module,
        (example,),
        file,  # type: ignore[arg-type]
        dynamo=False,
        opset_version=OPSET,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "N"}},
    )
    model: ModelProto = ModelProto.FromString(file.getvalue())
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Transpose" and attribute.name == "perm":
                # This exporter passes negative axes on, which ONNX does not know here.
                attribute.ints[:] = [axis % len(attribute.ints) for axis in attribute.ints]
    return model


def _program(module: nn.Module, example: Tensor) -> ModelProto:
    batch = torch.export.Dim("N", min=1)
    program = torch.onnx.export(
        module, (example,), dynamo=True, verbose=False, opset_version=OPSET, dynamic_shapes=({0: batch},)
    )
    if program is None:
        raise UserError("the exporter gave nothing; use another student")
    model: ModelProto = optimize(program.model_proto)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' notes on their own inner workings from the user."""
    logger = logging.getLogger(INTERNAL_LOGS)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
