"""Multilayer perceptrons for tables (numbers and embedded categories) and for flattened images."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod, sqrt

import torch
from torch import Tensor, nn

from moist.data import InputShape
from moist.students.dense import classifier, hidden_layer
from moist.students.settings import StudentSettings
from moist.students.sparse import SparseHead

__all__ = ["TableInput", "mlp_stages"]

LARGEST_DEFAULT_DIM = 8


class TableInput(nn.Module):
    """Numbers as they are, and an embedding for each categorical column.

    Args:
        num_numeric: leading columns that hold numbers.
        num_categories: categories of each trailing column, code 0 (unknown or missing) included.
        embedding_dim: dimensions of each embedding; None gives min(8, ⌈√categories⌉).
    """

    def __init__(self, num_numeric: int, num_categories: Sequence[int], embedding_dim: int | None) -> None:
        super().__init__()
        self.num_numeric = num_numeric
        dims = [embedding_dim or min(LARGEST_DEFAULT_DIM, ceil(sqrt(count))) for count in num_categories]
        self.embeddings = nn.ModuleList(_embedding(count, dim) for count, dim in zip(num_categories, dims))
        self.out_features = num_numeric + sum(dims)

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows (N, D) of numbers and then category codes to (N, out_features)."""
        codes = rows[:, self.num_numeric :].long()
        embedded = [embedding(codes[:, column]) for column, embedding in enumerate(self.embeddings)]
        return torch.cat([rows[:, : self.num_numeric], *embedded], dim=1)


def _embedding(num_categories: int, dim: int) -> nn.Embedding:
    embedding = nn.Embedding(num_categories, dim)
    nn.init.normal_(embedding.weight, std=dim**-0.5)
    with torch.no_grad():
        embedding.weight[0].zero_()  # an unknown category says nothing until training says otherwise
    return embedding


def mlp_stages(settings: StudentSettings, shape: InputShape, num_classes: int) -> list[nn.Module]:
    """Return input (embedding or flattening), hidden layers (each a stage of its own) and head.

    Args:
        settings: ``width`` and number (``depth``) of hidden layers; with ``sparse`` the last one and the head make one
            stage of experts.
        shape: a table's (columns,), or images (channels, height, width).
        num_classes: C.
    """
    features = prod(shape.shape)
    first: nn.Module = nn.Flatten()
    if shape.num_categories:
        table = TableInput(features - len(shape.num_categories), shape.num_categories, settings.embedding_dim)
        first, features = table, table.out_features
    stages = [first]
    for _ in range(settings.blocks - (settings.sparse is not None)):
        width = settings.width_at(len(stages))
        stages.append(hidden_layer(features, width))
        features = width
    if settings.sparse is not None:
        return [*stages, SparseHead(features, settings.width_at(len(stages)), num_classes, settings.sparse)]
    return [*stages, classifier(features, num_classes)]
