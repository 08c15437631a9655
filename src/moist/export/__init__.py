"""Mixtures as ONNX graphs, in float32 or static int8; :mod:`moist.runtime` runs them."""

from moist.export.bundle import export_bundle
from moist.export.capture import capture
from moist.export.pieces import graph_inputs, mixture_fragments
from moist.export.precision import ExportData, LabelledInputs, choose_precision
from moist.export.quantize import quantize
from moist.export.routed_graph import MixtureFragments, routed_model, router_model

__all__ = [
    "ExportData",
    "LabelledInputs",
    "MixtureFragments",
    "capture",
    "choose_precision",
    "export_bundle",
    "graph_inputs",
    "mixture_fragments",
    "quantize",
    "routed_model",
    "router_model",
]
