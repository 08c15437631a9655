"""Features as one vector per input."""

from __future__ import annotations

from torch import Tensor

__all__ = ["pool_features"]


def pool_features(features: Tensor) -> Tensor:
    """Return trunk features as (N, D): images averaged over space, words over the text without its padding."""
    if features.dim() == 4:
        return features.mean(dim=(2, 3))
    if features.dim() == 3:
        words, real = features[..., :-1], features[..., -1:]
        return (words * real).sum(dim=1) / real.sum(dim=1)
    return features
