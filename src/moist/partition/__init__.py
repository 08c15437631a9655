"""Partitions: arrays in, disjoint domains out."""

from moist.partition.class_groups import grow_groups, limit_domains, symmetric_confusions
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
    "grow_groups",
    "limit_domains",
    "responsibilities",
    "symmetric_confusions",
]
