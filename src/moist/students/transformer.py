"""Tiny transformer encoders for text, normalised before each branch (Xiong et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moist.data import InputShape
from moist.students.dense import classifier
from moist.students.settings import StudentSettings

__all__ = ["EncoderBlock", "MeanClassifier", "TokenInput", "transformer_stages"]

PADDING = 0
FEED_FORWARD_RATIO = 4
EMBEDDING_STD = 0.02


class TokenInput(nn.Module):
    """Token and position embeddings, with a last channel that is 1 at real tokens and 0 at padding.

    The channel carries the mask from stage to stage, so that any cut into trunk and tail passes one tensor. An empty
    text keeps its first position, so that attention has something to attend to.
    """

    def __init__(self, num_buckets: int, max_length: int, dim: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(num_buckets + 1, dim, padding_idx=PADDING)
        self.positions = nn.Parameter(torch.empty(max_length, dim))
        nn.init.normal_(self.tokens.weight, std=EMBEDDING_STD)
        nn.init.normal_(self.positions, std=EMBEDDING_STD)
        with torch.no_grad():
            self.tokens.weight[PADDING].zero_()

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (N, L), padded with 0, to (N, L, D + 1)."""
        hidden = self.tokens(ids) + self.positions[: ids.shape[1]]
        real = (ids != PADDING) | (torch.arange(ids.shape[1], device=ids.device) == 0)
        return torch.cat([hidden, real.unsqueeze(-1).to(hidden.dtype)], dim=-1)


class EncoderBlock(nn.Module):
    """Self-attention and a feed-forward layer, each added to what it read."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.projection = nn.Linear(dim, dim)
        self.norm_feed_forward = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, FEED_FORWARD_RATIO * dim), nn.GELU(), nn.Linear(FEED_FORWARD_RATIO * dim, dim)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, L, D + 1) to (N, L, D + 1); the last channel is the mask and stays."""
        hidden, mask = features[..., :-1], features[..., -1:]
        hidden = hidden + self._attend(self.norm_attention(hidden), mask)
        hidden = hidden + self.feed_forward(self.norm_feed_forward(hidden))
        return torch.cat([hidden, mask], dim=-1)

    def _attend(self, hidden: Tensor, mask: Tensor) -> Tensor:
        # (N, L, 3 D) -> three of (N, heads, L, D / heads)
        split = self.query_key_value(hidden).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-3, -2)
        query, key, value = split.unbind(0)
        visible = (mask > 0.5).squeeze(-1)[:, None, None, :]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        output: Tensor = self.projection(attended.transpose(-3, -2).flatten(-2))
        return output


class MeanClassifier(nn.Module):
    """The mean over real tokens, and a linear layer."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.linear = classifier(dim, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, L, D + 1) to logits (N, C)."""
        hidden, mask = features[..., :-1], features[..., -1:]
        mean = (self.norm(hidden) * mask).sum(dim=1) / mask.sum(dim=1)
        logits: Tensor = self.linear(mean)
        return logits


def transformer_stages(settings: StudentSettings, shape: InputShape, num_classes: int) -> list[nn.Module]:
    """Return token input, encoder blocks (each a stage of its own) and head.

    Args:
        settings: ``width``, ``depth`` blocks, ``heads``.
        shape: ids (L,), 1 to ``num_buckets``, padded with 0.
        num_classes: C.
    """
    width = settings.width
    blocks = [EncoderBlock(width, settings.heads) for _ in range(settings.blocks)]
    return [TokenInput(shape.num_buckets, shape.shape[0], width), *blocks, MeanClassifier(width, num_classes)]
