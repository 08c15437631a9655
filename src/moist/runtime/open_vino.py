"""OpenVINO: the one file that imports it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moist.errors import UserError

try:
    import openvino
except ImportError as error:
    raise UserError(
        'runtime "openvino" needs the package openvino, which is not installed; run: pip install openvino, or use '
        'runtime "onnxruntime"'
    ) from error

__all__ = ["open_graph"]


class _Compiled:
    def __init__(self, model: Any) -> None:
        self._model = model
        self._own = threading.local()

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        # A request holds one run's memory, so each thread has its own.
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._model.create_infer_request()
        results = request.infer(list(inputs), share_inputs=True)
        return [np.array(results[i]) for i in range(len(self._model.outputs))]


def open_graph(source: Path | bytes, threads: int, streams: int, frugal: bool, keep: Path | None) -> _Compiled:
    """Open a graph; arguments and errors as :func:`moist.runtime.open_graph`; it is frugal always."""
    del frugal, keep
    try:
        core = openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": threads * streams,
            "NUM_STREAMS": streams,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        return _Compiled(core.compile_model(core.read_model(source), "CPU", settings))
    except RuntimeError as error:
        what = str(source) if isinstance(source, Path) else "the graph"
        raise UserError(
            f"{what} cannot be opened by OpenVINO {openvino.__version__} ({str(error).splitlines()[0]}); use runtime "
            '"onnxruntime"'
        ) from error
