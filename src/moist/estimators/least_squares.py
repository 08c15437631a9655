"""Weighted least squares: the sums that linear experts and binary gates solve."""

from __future__ import annotations

import numpy as np

__all__ = ["over_rows", "solve_symmetric", "weighted_gram"]

ROWS_AT_ONCE = 4096  # a scaled copy of so many rows stays in a core's cache


def over_rows(design_ND: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return Σ_n x_n v_n: (D,) of values (N,), or (D, C) of (N, C).

    By ``np.dot``: of these shapes ``@`` keeps the interpreter's lock, and other experts' threads would stand still.
    """
    result: np.ndarray = np.dot(design_ND.T, values)
    return result


def weighted_gram(
    design_ND: np.ndarray, weight_N: np.ndarray, negligible: float = 1e-12, most_rows: int | None = None
) -> np.ndarray:
    """Return Σ_n w_n x_n x_nᵀ as (D, D), a few thousand rows at a time.

    Behind a gate that decides, most rows are another expert's: leaving them out saves most of the work.

    Args:
        design_ND: (N, D).
        weight_N: (N,) non-negative.
        negligible: rows with less than this share of the mean weight are left out.
        most_rows: of more rows than twice this, take evenly spaced ones, scaled up to the same weight; None for all.
    """
    kept_M = np.flatnonzero(weight_N > negligible * weight_N.mean())
    scale = 1.0
    if most_rows is not None and len(kept_M) >= 2 * most_rows:
        total = float(weight_N[kept_M].sum())
        kept_M = kept_M[:: len(kept_M) // most_rows]
        scale = total / float(weight_N[kept_M].sum())
    root_M1 = np.sqrt(scale * weight_N[kept_M])[:, None]
    gram_DD = np.zeros((design_ND.shape[1],) * 2)
    for start in range(0, len(kept_M), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        scaled = design_ND[kept_M[rows]] * root_M1[rows]
        gram_DD += scaled.T @ scaled  # one array with itself: half the work of two
    return gram_DD


def solve_symmetric(matrix_DD: np.ndarray, right_D: np.ndarray) -> np.ndarray:
    """Solve symmetric equations; where inputs repeat each other and there is no ridge, the shortest solution."""
    solution: np.ndarray = np.linalg.lstsq(matrix_DD, right_D, rcond=1e-12)[0]
    return solution
