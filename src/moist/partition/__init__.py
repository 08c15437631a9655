"""Partitions: arrays in, disjoint domains out."""

from moist.partition.domains import (
    ConfusionPartitioner,
    EmbeddingPartitioner,
    RandomPartitioner,
    confusion_matrix,
    domain_rows,
    responsibilities,
)

__all__ = [
    "ConfusionPartitioner",
    "EmbeddingPartitioner",
    "RandomPartitioner",
    "confusion_matrix",
    "domain_rows",
    "responsibilities",
]
