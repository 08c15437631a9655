"""Static int8: weights and activations of a fragment in eight bits, their ranges from calibration inputs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from moist.export.fragment import Fragment
from moist.export.onnx_library import CalibrationDataReader, ModelProto, QuantFormat, QuantType, quantize_static

__all__ = ["quantize"]

BATCH = 64
PRODUCTS = ["Conv", "Gemm", "MatMul"]
# Between convolutions these have kernels of eight bits too. In attention they don't pay, and masks are infinite.
AROUND_CONVOLUTIONS = ["Add", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool"]


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    """Hands out calibration inputs in batches."""

    def __init__(self, rows: np.ndarray) -> None:
        self._batches: Iterator[np.ndarray] = iter(
            [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"input": batch}


def quantize(fragment: Fragment, rows: np.ndarray) -> Fragment:
    """Return the fragment in static int8: QDQ form, weights per channel, activations unsigned.

    Args:
        fragment: in float32.
        rows: (N, ...) inputs that the ranges are taken from.
    """
    kinds = {node.op_type for node in fragment.nodes}
    if not kinds.intersection(PRODUCTS):
        return fragment  # nothing is multiplied here, so nothing would be gained
    operations = PRODUCTS + (AROUND_CONVOLUTIONS if "Conv" in kinds else [])
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        before.write_bytes(fragment.model("fragment").SerializeToString())
        logging.disable(logging.WARNING)  # it recommends a step that has been taken: the graph is optimised already
        try:
            quantize_static(
                before,
                after,
                _Rows(rows),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=operations,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.disable(logging.NOTSET)
        model = ModelProto.FromString(after.read_bytes())
    return Fragment.from_graph(model.graph, fragment.input_shape, fragment.output_shape)
