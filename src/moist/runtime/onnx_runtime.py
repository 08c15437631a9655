"""ONNX Runtime: the one file of the runtime that imports it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from moist.errors import UserError

try:
    import onnxruntime as ort
except ImportError as error:
    raise UserError(
        "running an exported mixture needs the package onnxruntime, which is not installed; run: "
        "pip install onnxruntime"
    ) from error

__all__ = ["open_graph"]

ERRORS_ONLY = 3


class _Session:
    def __init__(self, session: ort.InferenceSession) -> None:
        # The library's wrapper looks up each input's name and type again in every run; what it wraps takes the same.
        self._run = getattr(session, "_sess", session).run
        self._names = [each.name for each in session.get_inputs()]
        self._outputs = [each.name for each in session.get_outputs()]

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs: list[np.ndarray] = self._run(self._outputs, dict(zip(self._names, inputs)), None)
        return outputs


def open_graph(source: Path | bytes, threads: int, streams: int, frugal: bool, keep: Path | None) -> _Session:
    """Open a graph; arguments and errors as :func:`moist.runtime.open_graph`."""
    del streams  # a run with one thread is its caller's
    if keep is None:
        return _open(source, _options(threads, frugal))
    if keep.exists():
        return _open(keep, _options_as_kept(threads, frugal))
    options = _options(threads, frugal)
    options.optimized_model_filepath = str(keep)
    try:
        return _open(source, options)
    except UserError:  # it may be the disk, which is full
        keep.unlink(missing_ok=True)
        return _open(source, _options(threads, frugal))


def _open(source: Path | bytes, options: ort.SessionOptions) -> _Session:
    try:
        model = str(source) if isinstance(source, Path) else source
        return _Session(ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]))
    except Exception as error:  # ONNX Runtime has errors of its own, without a common base
        what = str(source) if isinstance(source, Path) else "the graph"
        raise UserError(
            f"{what} cannot be opened by ONNX Runtime {ort.__version__} ({str(error).splitlines()[0]}); export it "
            "again, or install another version"
        ) from error


@cache
def _options_as_kept(threads: int, frugal: bool) -> ort.SessionOptions:
    """Return what opens a graph that was optimised already; made once, since it takes a tenth of an opening."""
    options = _options(threads, frugal)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def _options(threads: int, frugal: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    # An arena keeps what a run once needed; without one, a specialist that is dropped gives all of its memory back.
    options.enable_cpu_mem_arena = not frugal
    # Idle threads of one session that spin take the cores from every other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
