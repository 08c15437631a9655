"""Where EM begins: rows cut into one part per expert, level by level, from draws that depend on no row."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

__all__ = ["Init", "starting_responsibilities"]

Init = Literal["kmeans", "random"]
OWN_SHARE = 0.9  # the rest is spread over all experts, so that each sees a little of everything


def starting_responsibilities(
    inputs_ND: np.ndarray,
    weight_N: np.ndarray,
    depth: int,
    branching: int,
    init: Init,
    random: np.random.RandomState,
) -> np.ndarray:
    """Return responsibilities (N, K) of the leaves of a tree of parts.

    The random draws are points of the space of inputs, never rows: so a row of weight two and the same row twice give
    the same start.

    Args:
        inputs_ND: (N, D) standardised inputs.
        weight_N: (N,) positive.
        depth: levels of the tree.
        branching: parts of each part.
        init: ``kmeans``, or ``random``: the nearest of random points.
        random: where the draws come from.
    """
    leaf_N = np.zeros(len(inputs_ND), dtype=np.int64)
    for level in range(depth):
        child_N = np.zeros_like(leaf_N)
        for node in range(branching**level):
            points_BD = random.standard_normal((branching, inputs_ND.shape[1]))
            rows = np.flatnonzero(leaf_N == node)
            if len(rows):
                child_N[rows] = _cut(inputs_ND[rows], weight_N[rows], points_BD, init)
        leaf_N = leaf_N * branching + child_N
    num_leaves = branching**depth
    responsibilities_NK = np.full((len(leaf_N), num_leaves), (1 - OWN_SHARE) / num_leaves)
    responsibilities_NK[np.arange(len(leaf_N)), leaf_N] += OWN_SHARE
    return responsibilities_NK


def _cut(inputs_ND: np.ndarray, weight_N: np.ndarray, points_BD: np.ndarray, init: Init) -> np.ndarray:
    """Return the part (N,) of each row: nearest random point, refined by k-means where that is asked for."""
    share_N = weight_N / weight_N.sum()
    mean_D = share_N @ inputs_ND
    deviation_D = np.sqrt(share_N @ (inputs_ND - mean_D) ** 2)
    points_BD = mean_D + points_BD * deviation_D
    if init == "random" or len(inputs_ND) < len(points_BD):
        return np.asarray(_squared_distances(inputs_ND, points_BD).argmin(axis=1))
    # From rows, not from the points: in many dimensions random points are far from all rows, and most would stay empty.
    centres_BD = inputs_ND[_squared_distances(inputs_ND, points_BD).argmin(axis=0)]
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than parts
        kmeans = KMeans(len(centres_BD), init=centres_BD, n_init=1, tol=0.0).fit(inputs_ND, sample_weight=weight_N)
    return np.asarray(kmeans.labels_, dtype=np.int64)


def _squared_distances(inputs_ND: np.ndarray, points_BD: np.ndarray) -> np.ndarray:
    """Return squared distances (N, B), without an array of (N, B, D)."""
    own_N1 = np.square(inputs_ND).sum(axis=1)[:, None]
    result: np.ndarray = own_N1 - 2 * inputs_ND @ points_BD.T + np.square(points_BD).sum(axis=1)
    return result
