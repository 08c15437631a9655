"""One dense network from a sparse one: experts gathered into a feed-forward layer."""

from moist.integration.data_aware import activation_scores, gather_least_squares, taylor_scores
from moist.integration.feed_forward import FeedForward, activation_of, feed_forward_of, load_feed_forward
from moist.integration.gather import gather_average, gather_sum, gather_svd, gather_top_k, weight_norms
from moist.integration.observe import SeenLayer, observe
from moist.integration.to_dense import GatherMethod, UnitScore, copy_shared, to_dense

__all__ = [
    "FeedForward",
    "GatherMethod",
    "SeenLayer",
    "UnitScore",
    "activation_of",
    "activation_scores",
    "copy_shared",
    "feed_forward_of",
    "gather_average",
    "gather_least_squares",
    "gather_sum",
    "gather_svd",
    "gather_top_k",
    "load_feed_forward",
    "observe",
    "taylor_scores",
    "to_dense",
    "weight_norms",
]
