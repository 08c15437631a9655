"""Experts: the blocks that a sparse layer chooses among."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from moist.moe.bias_within import bias_within, can_add_within

__all__ = ["Experts", "GatedMLP", "conv_expert", "mlp_expert"]


class Experts(nn.Module):
    """E blocks of the same shape, each with parameters of its own.

    Separate parameters, since a slice of a stacked one would make a gradient of the whole stack's size. The weight of a
    linear layer that reads more than it writes keeps its shape, and is transposed in memory: libraries that store
    contiguous tensors only want ``weight.contiguous()``.

    Args:
        members: E modules from rows (n, ...) to (n, ...).
        active: mean number of them that serve an input; it tells :func:`moist.evaluation.count_active_params` how many
            parameters an input reads.
    """

    def __init__(self, members: Sequence[nn.Module], active: float = 1.0) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        _lay_out_for_few_rows(self.members)
        self.active_fraction = min(active / len(self.members), 1.0)

    def __len__(self) -> int:
        return len(self.members)

    def forward(self, parts: Sequence[Tensor]) -> list[Tensor | None]:
        """Run each expert on its own rows; one without rows does not run and gives None."""
        serving = self.serving(parts[0])
        return [serve(part) if len(part) else None for serve, part in zip(serving, parts)]

    def serving(self, rows: Tensor) -> list[Callable[[Tensor], Tensor]]:
        """Return what gives each expert's answers to such rows (n, ...), the fastest way."""
        if can_add_within(rows):
            return [partial(bias_within, member) for member in self.members]
        return list(self.members)

    def run_all(self, rows: Tensor) -> list[Tensor]:
        """Run every expert on the same rows (N, ...)."""
        return [member(rows) for member in self.members]


def _lay_out_for_few_rows(members: nn.Module) -> None:
    """Transpose in memory the weights of linear layers that read more than they write.

    An expert gets a part of the rows. oneDNN's bfloat16 product of few rows spends much of its time on laying out the
    weights for the matrix unit: from this order never more, and for 481 to 511 rows two fifths less in all.
    """
    for module in members.modules():
        if type(module) is nn.Linear and module.in_features > module.out_features:
            module.weight.data = module.weight.data.T.contiguous().T


def mlp_expert(
    dim: int, hidden: int, out: int | None = None, *, activation: type[nn.Module] = nn.GELU, dropout: float = 0.0
) -> nn.Sequential:
    """Return linear, activation (and dropout), linear: the feed-forward layer of a transformer.

    Args:
        dim: D that is read.
        hidden: hidden units.
        out: D' that is written; None for D.
        activation: class of the activation.
        dropout: share of hidden units left out in training (Fedus et al. 2021, section 2.4: 0.4 in fine-tuning).
    """
    middle: nn.Module = nn.Sequential(activation(), nn.Dropout(dropout)) if dropout else activation()
    return nn.Sequential(nn.Linear(dim, hidden), middle, nn.Linear(hidden, out or dim))


class GatedMLP(nn.Module):
    """down(silu(gate(x)) · up(x)), SwiGLU.

    Args:
        dim: D.
        hidden: hidden units.
        dropout: share of hidden units left out in training.
        bias: whether the three linear layers have one.

    Shazeer 2020, "GLU Variants Improve Transformer" (arXiv 2002.05202), equation 6.
    """

    def __init__(self, dim: int, hidden: int, *, dropout: float = 0.0, bias: bool = False) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, hidden, bias=bias)
        self.up = nn.Linear(dim, hidden, bias=bias)
        self.down = nn.Linear(hidden, dim, bias=bias)
        self.dropout = dropout

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, D) to (N, D)."""
        hidden = F.silu(self.gate(inputs)) * self.up(inputs)
        if self.dropout and self.training:
            hidden = F.dropout(hidden, self.dropout)
        output: Tensor = self.down(hidden)
        return output


def conv_expert(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Return two 3×3 convolutions with group normalisation, the first with a ReLU: the branch of a residual block.

    Group rather than batch normalisation: how many images an expert gets varies from batch to batch, down to one.

    Args:
        in_channels: D that is read.
        out_channels: D' that is written.
        stride: step of the first convolution.
    """
    first = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
    for conv in (first, second):
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(
        first, nn.GroupNorm(1, out_channels), nn.ReLU(inplace=True), second, nn.GroupNorm(1, out_channels)
    )
