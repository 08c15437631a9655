"""Bags of hashed n-grams for text (Joulin et al. 2017): an embedding per bucket, combined, then linear layers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from moist.data import InputShape
from moist.students.dense import classifier, hidden_layer
from moist.students.settings import StudentSettings
from moist.students.sparse import SparseHead

__all__ = ["NgramBag", "bag_stages"]

PADDING = 0
# Small, because a bucket that training never meets keeps its first value, which is noise to every text that hits it.
EMBEDDING_STD = 0.1


class NgramBag(nn.Module):
    """The mean or the sum of the embeddings of a text's n-grams; an empty text gives zeros.

    Args:
        num_buckets: different ids; the table has one more row, for padding.
        dim: embedding dimensions.
        pooling: ``mean`` or ``sum``.
    """

    def __init__(self, num_buckets: int, dim: int, pooling: Literal["mean", "sum"]) -> None:
        super().__init__()
        # Not nn.EmbeddingBag: it has no batching rule, so stacked copies could not run under torch.vmap.
        self.embedding = nn.Embedding(num_buckets + 1, dim, padding_idx=PADDING)
        self.pooling = pooling
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        with torch.no_grad():
            self.embedding.weight[PADDING].zero_()

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (N, L), padded with 0, to (N, D)."""
        total: Tensor = self.embedding(ids).sum(dim=1)
        if self.pooling == "sum":
            return total
        return total / (ids != PADDING).sum(dim=1, keepdim=True).clamp(min=1)


def bag_stages(settings: StudentSettings, shape: InputShape, num_classes: int) -> list[nn.Module]:
    """Return bag, hidden layers (each a stage of its own, none by default) and head.

    Args:
        settings: ``width`` of the embedding and the hidden layers, ``depth`` hidden layers, ``pooling``; with
            ``sparse`` the last hidden layer and the head make one stage of experts.
        shape: ids (L,), 1 to ``num_buckets``, padded with 0.
        num_classes: C.
    """
    features = settings.width_at(0)
    stages: list[nn.Module] = [NgramBag(shape.num_buckets, features, settings.pooling)]
    for _ in range(settings.blocks - (settings.sparse is not None)):
        width = settings.width_at(len(stages))
        stages.append(hidden_layer(features, width))
        features = width
    if settings.sparse is not None:
        return [*stages, SparseHead(features, settings.width_at(len(stages)), num_classes, settings.sparse)]
    return [*stages, classifier(features, num_classes)]
