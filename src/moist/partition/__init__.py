"""Partitions: arrays in, disjoint domains out, or overlapping sets of classes."""

from moist.partition.class_groups import grow_groups, limit_domains, symmetric_confusions
from moist.partition.domains import (
    ConfusionPartitioner,
    EmbeddingPartitioner,
    RandomPartitioner,
    confusion_matrix,
    domain_rows,
    responsibilities,
)
from moist.partition.online import OnlineKMeans, OverlappingClassSets, StreamedCovariance

__all__ = [
    "ConfusionPartitioner",
    "EmbeddingPartitioner",
    "OnlineKMeans",
    "OverlappingClassSets",
    "RandomPartitioner",
    "StreamedCovariance",
    "confusion_matrix",
    "domain_rows",
    "grow_groups",
    "limit_domains",
    "responsibilities",
    "symmetric_confusions",
]
