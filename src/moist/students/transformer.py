"""Parts of tiny transformer encoders, normalised before each branch (Xiong et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moist.moe import mlp_expert
from moist.students.dense import classifier

__all__ = ["FEED_FORWARD_RATIO", "EncoderBlock", "MeanClassifier", "PatchInput", "TokenInput"]

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


class PatchInput(nn.Module):
    """An image's patches and their positions, with a last channel of ones: no patch is padding.

    Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words" (arXiv 2010.11929), equation 1, without a class token.
    """

    def __init__(self, channels: int, side: tuple[int, int], patch: int, dim: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, dim, patch, stride=patch)
        self.positions = nn.Parameter(torch.empty((side[0] // patch) * (side[1] // patch), dim))
        nn.init.normal_(self.positions, std=EMBEDDING_STD)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, channels, H, W) to (N, L, D + 1)."""
        hidden = self.patches(images).flatten(2).mT + self.positions
        return torch.cat([hidden, torch.ones_like(hidden[..., :1])], dim=-1)


class EncoderBlock(nn.Module):
    """Self-attention and a feed-forward layer, each added to what it read.

    Args:
        dim: D.
        heads: attention heads.
        feed_forward: module from (N, L, D) to (N, L, D); None for linear, GELU, linear with 4 D hidden units.
    """

    def __init__(self, dim: int, heads: int, feed_forward: nn.Module | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.projection = nn.Linear(dim, dim)
        self.norm_feed_forward = nn.LayerNorm(dim)
        self.feed_forward = mlp_expert(dim, FEED_FORWARD_RATIO * dim) if feed_forward is None else feed_forward

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, L, D + 1) to (N, L, D + 1); the last channel is the mask and stays."""
        hidden, mask = self.attended(features)
        hidden = hidden + self.feed_forward(self.norm_feed_forward(hidden))
        return torch.cat([hidden, mask], dim=-1)

    def attended(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (N, L, D + 1) to what the feed-forward layer is added to (N, L, D), and the mask (N, L, 1)."""
        hidden, mask = features[..., :-1], features[..., -1:]
        return hidden + self._attend(self.norm_attention(hidden), mask), mask

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
