"""Weighted least squares: the sums that linear experts and binary gates solve."""

from __future__ import annotations

import numpy as np

__all__ = ["solve_symmetric", "weighted_gram"]

ROWS_AT_ONCE = 4096  # a scaled copy of so many rows stays in a core's cache


def weighted_gram(design_ND: np.ndarray, weight_N: np.ndarray) -> np.ndarray:
    """Return Σ_n w_n x_n x_nᵀ as (D, D), a few thousand rows at a time.

    Args:
        design_ND: (N, D).
        weight_N: (N,) non-negative.
    """
    root_N1 = np.sqrt(weight_N)[:, None]
    gram_DD = np.zeros((design_ND.shape[1],) * 2)
    for start in range(0, len(design_ND), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        scaled = design_ND[rows] * root_N1[rows]
        gram_DD += scaled.T @ scaled  # one array with itself: half the work of two
    return gram_DD


def solve_symmetric(matrix_DD: np.ndarray, right_D: np.ndarray) -> np.ndarray:
    """Solve symmetric equations; where inputs repeat each other and there is no ridge, the shortest solution."""
    solution: np.ndarray = np.linalg.lstsq(matrix_DD, right_D, rcond=1e-12)[0]
    return solution
