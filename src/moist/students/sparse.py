"""Stages that hold a sparse layer: they return what was routed beside their output."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from moist.moe import Among, GatedMLP, LayerFacts, MoELayer, SparseSettings, conv_expert, create_router, mlp_expert
from moist.students.convolution import convolution
from moist.students.dense import classifier
from moist.students.transformer import FEED_FORWARD_RATIO, EncoderBlock

__all__ = ["RoutedStage", "SparseBasicBlock", "SparseEncoderBlock", "SparseHead"]


class RoutedStage(nn.Module, ABC):
    """A stage with a sparse layer: as a plain stage it gives its output, to those who ask also the facts."""

    moe: MoELayer

    def forward(self, features: Tensor) -> Tensor:
        """Return the stage's output."""
        return self.forward_facts(features)[0]

    @abstractmethod
    def forward_facts(self, features: Tensor, among: Among | None = None) -> tuple[Tensor, LayerFacts]:
        """Return the stage's output, and what its layer did; see :meth:`moist.moe.MoELayer.forward_facts`."""


class SparseHead(RoutedStage):
    """Experts in place of the last hidden layer and the head: each gives logits of its own.

    Args:
        in_features: D that is read.
        hidden: hidden units of each expert.
        num_classes: C.
        sparse: experts and router.
    """

    def __init__(self, in_features: int, hidden: int, num_classes: int, sparse: SparseSettings) -> None:
        super().__init__()
        experts = [_classifying_expert(in_features, hidden, num_classes, sparse) for _ in range(sparse.num_experts)]
        self.moe = MoELayer(create_router(sparse, in_features), experts, active=sparse.active_experts)

    def forward_facts(self, features: Tensor, among: Among | None = None) -> tuple[Tensor, LayerFacts]:
        """Map features (N, D) to logits (N, C)."""
        return self.moe.forward_facts(features, among=among)


def _classifying_expert(in_features: int, hidden: int, num_classes: int, sparse: SparseSettings) -> nn.Module:
    expert = mlp_expert(in_features, hidden, num_classes, activation=nn.ReLU, dropout=sparse.expert_dropout)
    first = expert[0]
    assert isinstance(first, nn.Linear)
    nn.init.kaiming_normal_(first.weight, nonlinearity="relu")
    nn.init.zeros_(first.bias)
    expert[2] = classifier(hidden, num_classes)
    return expert


class SparseEncoderBlock(RoutedStage):
    """A transformer's block whose feed-forward layer is sparse; each real token is routed by itself.

    Args:
        dim: D.
        heads: attention heads.
        sparse: experts and router.
    """

    def __init__(self, dim: int, heads: int, sparse: SparseSettings) -> None:
        super().__init__()
        self.block = EncoderBlock(dim, heads, feed_forward=nn.Identity())
        experts = [_token_expert(dim, sparse) for _ in range(sparse.num_experts)]
        self.moe = MoELayer(
            create_router(sparse, dim),
            experts,
            active=sparse.active_experts,
            capacity_factor=None if sparse.balances_itself else sparse.capacity_factor,
        )

    def forward_facts(self, features: Tensor, among: Among | None = None) -> tuple[Tensor, LayerFacts]:
        """Map (N, L, D + 1) to (N, L, D + 1); the last channel is the mask and stays."""
        hidden, mask = self.block.attended(features)
        rows = self.block.norm_feed_forward(hidden)
        change, facts = self.moe.forward_facts(rows, (mask > 0.5).squeeze(-1), among)
        return torch.cat([hidden + change, mask], dim=-1), facts


def _token_expert(dim: int, sparse: SparseSettings) -> nn.Module:
    hidden = FEED_FORWARD_RATIO * dim
    if sparse.gated:
        return GatedMLP(dim, hidden, dropout=sparse.expert_dropout, bias=True)
    return mlp_expert(dim, hidden, dropout=sparse.expert_dropout)


class SparseBasicBlock(RoutedStage):
    """A residual block whose branch is one of several; each image is routed by the mean of its feature map.

    Args:
        in_channels: D that is read.
        out_channels: D' that is written.
        stride: step of the branch's first convolution.
        sparse: experts and router.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, sparse: SparseSettings) -> None:
        super().__init__()
        experts = [conv_expert(in_channels, out_channels, stride) for _ in range(sparse.num_experts)]
        self.moe = MoELayer(
            create_router(sparse, in_channels),
            experts,
            active=sparse.active_experts,
            capacity_factor=None if sparse.balances_itself else sparse.capacity_factor,
            row_dims=3,
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut = (
            nn.Identity() if same else convolution(in_channels, out_channels, kernel=1, stride=stride, relu=False)
        )

    def forward_facts(self, features: Tensor, among: Among | None = None) -> tuple[Tensor, LayerFacts]:
        """Map features (N, D, H, W) to (N, D', H / stride, W / stride)."""
        change, facts = self.moe.forward_facts(features, among=among)
        return torch.relu(change + self.shortcut(features)), facts
