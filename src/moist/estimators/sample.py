"""A training sample as EM reads it: standardised once, rows without weight left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from typing_extensions import Self

__all__ = ["Sample", "Scaling"]


@dataclass(frozen=True)
class Scaling:
    """Weighted mean and deviation of each input; a constant one is only centred."""

    mean_D: np.ndarray
    scale_D: np.ndarray

    @classmethod
    def of(cls, rows_ND: np.ndarray, weight_N: np.ndarray) -> Self:
        """Measure rows (N, D) under weights (N,)."""
        share_N = weight_N / weight_N.sum()
        mean_D = share_N @ rows_ND
        deviation_D = np.sqrt(share_N @ (rows_ND - mean_D) ** 2)
        constant = deviation_D <= 1e-9 * np.maximum(np.abs(mean_D), 1e-30)
        return cls(mean_D, np.where(constant, 1.0, deviation_D))

    def design(self, rows_ND: np.ndarray) -> np.ndarray:
        """Return (N, 1 + D): the constant 1, then the standardised inputs."""
        design = np.empty((len(rows_ND), 1 + rows_ND.shape[1]))
        design[:, 0] = 1.0
        np.subtract(rows_ND, self.mean_D, out=design[:, 1:])
        design[:, 1:] /= self.scale_D
        return design

    def original(self, coef: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn coefficients (..., 1 + D) of the design into (slopes (..., D), intercepts (...)) of the inputs."""
        slopes = coef[..., 1:] / self.scale_D
        return slopes, coef[..., 0] - slopes @ self.mean_D


@dataclass(frozen=True)
class Sample:
    """Rows that EM learns from.

    Args:
        rows_ND: (N, D) inputs as given.
        design_ND: (N, 1 + D) the constant and the standardised inputs.
        target_N: (N,) class numbers, or standardised values.
        weight_N: (N,) positive.
    """

    rows_ND: np.ndarray
    design_ND: np.ndarray
    target_N: np.ndarray
    weight_N: np.ndarray
