"""The libraries that write ONNX: the one file that imports them."""

from __future__ import annotations

from moist.errors import UserError

try:
    from onnx import (
        AttributeProto,
        GraphProto,
        ModelProto,
        NodeProto,
        TensorProto,
        ValueInfoProto,
        checker,
        helper,
        numpy_helper,
    )
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxscript.optimizer import optimize
except ImportError as error:
    raise UserError(
        f"exporting needs the packages onnx, onnxscript and onnxruntime, not all of which are installed ({error}); "
        'run: pip install "moist[export]"'
    ) from error

__all__ = [
    "AttributeProto",
    "CalibrationDataReader",
    "GraphProto",
    "ModelProto",
    "NodeProto",
    "QuantFormat",
    "QuantType",
    "TensorProto",
    "ValueInfoProto",
    "checker",
    "helper",
    "numpy_helper",
    "optimize",
    "quantize_static",
]
