"""The linear layer that scores experts, always in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

__all__ = ["LinearGate"]

PART = 256  # rows whose float32 copies stay in a core's cache


class LinearGate(nn.Module):
    """Linear scores of E experts without a bias, computed in float32 even under autocast.

    Half precision rounds scores so coarsely that experts tie; the rest of the network may use it.

    Args:
        dim: D.
        num_experts: E.
        scale: s of the initial truncated normal of variance s / D; 0 starts at zero.
        jitter: in training each input is multiplied by a uniform draw from 1 - jitter to 1 + jitter.

    Fedus, Zoph and Shazeer 2021 (arXiv 2101.03961), section 2.4: float32, s = 0.1, jitter 0.01.
    """

    def __init__(self, dim: int, num_experts: int, *, scale: float = 1.0, jitter: float = 0.0) -> None:
        super().__init__()
        self.jitter = jitter
        self.weight = nn.Parameter(torch.zeros(num_experts, dim))
        std = (scale / dim) ** 0.5
        if std:
            nn.init.trunc_normal_(self.weight, std=std, a=-2 * std, b=2 * std)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (N, D), or the mean over the further axes of (N, D, ...), to scores (N, E)."""
        with torch.autocast(inputs.device.type, enabled=False):
            if self._in_parts(inputs):
                scores: Tensor = _ScoresInParts.apply(inputs, self.weight)  # type: ignore[no-untyped-call]
                return scores
            rows_ND = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
            if rows_ND.dim() > 2:
                rows_ND = rows_ND.flatten(2).mean(dim=2)
            if self.training and self.jitter:
                rows_ND = rows_ND * torch.empty_like(rows_ND).uniform_(1 - self.jitter, 1 + self.jitter)
            return F.linear(rows_ND, self.weight.to(rows_ND.dtype))

    def _in_parts(self, inputs: Tensor) -> bool:
        return (
            inputs.dtype in (torch.bfloat16, torch.float16)
            and inputs.dim() == 2
            and len(inputs) > PART
            and inputs.device.type == "cpu"
            and not (self.training and self.jitter)
            and not torch.compiler.is_compiling()
            and not torch._C._get_tracing_state()
        )


class _ScoresInParts(torch.autograd.Function):
    """Scores in float32 of rows in half precision, some rows at a time.

    On a processor a float32 copy of all rows, and one of their gradient, cost more than the products.
    """

    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor, weight_ED: Tensor) -> Tensor:
        ctx.save_for_backward(rows_ND, weight_ED)
        wide_ED = weight_ED.float()
        scores_EN = wide_ED.new_empty(len(wide_ED), len(rows_ND))
        copy_ND = wide_ED.new_empty(PART, rows_ND.shape[1])
        for rows, scores in zip(torch.split(rows_ND, PART), torch.split(scores_EN, PART, dim=1)):
            scores.copy_(wide_ED @ copy_ND[: len(rows)].copy_(rows).T)
        return scores_EN.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NE: Tensor) -> tuple[Tensor, Tensor]:
        rows_ND, weight_ED = ctx.saved_tensors
        wide_ED = weight_ED.float()
        of_rows_ND, of_weight_ED = torch.empty_like(rows_ND), torch.zeros_like(wide_ED)
        for rows, grads, out in zip(*(torch.split(each, PART) for each in (rows_ND, grad_NE, of_rows_ND))):
            of_weight_ED.addmm_(grads.T, rows.float())
            out.copy_(grads @ wide_ED)
        return of_rows_ND, of_weight_ED.to(weight_ED.dtype)
