"""Routers and dispatch, shared by mixtures of whole specialists and by sparse layers."""

from moist.routing.dispatch import Dispatcher
from moist.routing.top_k import TopKRouter, select_top_k

__all__ = ["Dispatcher", "TopKRouter", "select_top_k"]
