"""Exported mixtures, run without torch: this room, and what it imports, needs NumPy and ONNX Runtime only."""

from moist.runtime.engine import Graph, RuntimeName, open_graph
from moist.runtime.exported import EXPORT, EXPORT_FOLDER
from moist.runtime.prediction import RoutedPrediction
from moist.runtime.session import RoutedSession

__all__ = ["EXPORT", "EXPORT_FOLDER", "Graph", "RoutedPrediction", "RoutedSession", "RuntimeName", "open_graph"]
