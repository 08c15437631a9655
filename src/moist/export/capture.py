"""From torch modules to graphs; modules of one structure are traced once."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from moist.errors import UserError
from moist.export.checking import largest_difference, run_fragment
from moist.export.fragment import OPSET, Fragment, constant
from moist.export.onnx_library import ModelProto, TensorProto, optimize

__all__ = ["TOLERANCE", "Capture"]

TOLERANCE = 1e-4
INTERNAL_LOGS = "torch.onnx._internal.exporter._registration"


class Capture:
    """Turns modules into fragments, and checks each against torch."""

    def __init__(self) -> None:
        self._traced: dict[str, ModelProto] = {}

    def __call__(self, module: nn.Module, example: Tensor, name: str) -> Fragment:
        """Return the graph of ``module`` in evaluation mode.

        Args:
            module: one tensor in, one tensor out, both with a batch axis.
            example: (N, ...) inputs, N at least 2; what comes out must be the same as from torch.
            name: what to call the module in an error.

        Raises:
            UserError: the module has operations that ONNX has not, or the graph gives something else than torch does.
        """
        if not list(module.children()) and isinstance(module, nn.Identity):
            shape = tuple(example.shape[1:])
            kind = TensorProto.INT64 if example.dtype == torch.int64 else TensorProto.FLOAT
            return Fragment((), (), "input", "input", kind, shape, shape)
        with torch.inference_mode():
            expected = module(example).numpy()
        key = _structure(module)
        known = key in self._traced
        fragment, difference = self._build(module, example, expected, key, name)
        if difference > TOLERANCE and known:
            # The same structure to the eye, and yet another computation: trace this one by itself.
            del self._traced[key]
            fragment, difference = self._build(module, example, expected, key, name)
        if difference > TOLERANCE:
            raise UserError(
                f"the graph of {name} must give what torch gives, within {TOLERANCE:g}; it differs by "
                f"{difference:.3g}; leave out what draws at random or depends on the values of the input"
            )
        return fragment

    def _build(
        self, module: nn.Module, example: Tensor, expected: np.ndarray, key: str, name: str
    ) -> tuple[Fragment, float]:
        if key not in self._traced:
            self._traced[key] = _trace(module, example, name)
        model = _filled(self._traced[key], module)
        fragment = Fragment.from_graph(optimize(model).graph, example.shape[1:], expected.shape[1:])
        return fragment, largest_difference(run_fragment(fragment, example.numpy()), expected)


def _structure(module: nn.Module) -> str:
    """Return a name for what the module computes, its weights aside."""
    digest = hashlib.sha256(str(module).encode())
    for part in module.modules():
        digest.update(f"{type(part).__module__}.{type(part).__qualname__};".encode())
        for name in sorted(part._non_persistent_buffers_set):
            buffer = part._buffers[name]
            if buffer is not None:
                digest.update(buffer.numpy().tobytes())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype};".encode())
    return digest.hexdigest()


def _trace(module: nn.Module, example: Tensor, name: str) -> ModelProto:
    batch = torch.export.Dim("N", min=1)
    try:
        with _quiet(), torch.no_grad():
            # Not optimised yet: the weights must keep their names, so that those of others can take their place.
            program = torch.onnx.export(
                module.eval(),
                (example,),
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=OPSET,
                dynamic_shapes=({0: batch},),
            )
    except Exception as error:  # the exporter wraps whatever a module raises
        reason = str(error).strip().splitlines()
        raise UserError(
            f"ONNX must have every operation of a student, {name} cannot be exported "
            f"({reason[0] if reason else type(error).__name__}); serve this bundle with moist.load_bundle, or use "
            "another student.family"
        ) from error
    if program is None:
        raise UserError(f"{name} cannot be exported; serve this bundle with moist.load_bundle")
    return program.model_proto


def _filled(traced: ModelProto, module: nn.Module) -> ModelProto:
    """Return the traced graph with the weights of ``module``."""
    model = ModelProto()
    model.CopyFrom(traced)
    state = module.state_dict()
    for weight in model.graph.initializer:
        if weight.name in state:
            weight.CopyFrom(constant(weight.name, state[weight.name].detach().cpu().numpy()))
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes on its own inner workings from the user."""
    logger = logging.getLogger(INTERNAL_LOGS)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
