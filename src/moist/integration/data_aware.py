"""Gathers that look at data: scores of hidden units, and a closed-form fit to the sparse layer's own outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from moist.integration.feed_forward import Activation, FeedForward
from moist.integration.gather import keep_units
from moist.types import UserError

__all__ = ["activation_scores", "gather_least_squares", "taylor_scores"]


def activation_scores(
    expert: FeedForward, inputs_ND: Tensor, activation: Activation, weights_N: Tensor | None = None
) -> Tensor:
    """Return the mean size of what each hidden unit adds to the output: E|w h_j| · ‖down_j‖, as (H,).

    Args:
        expert: the layer.
        inputs_ND: what it reads.
        activation: φ.
        weights_N: (N,) the gate's weight of the expert for each input; None for 1.
    """
    sizes_NH = expert.hidden(inputs_ND, activation).abs()
    if weights_N is not None:
        sizes_NH = sizes_NH * weights_N[:, None]
    scores_H: Tensor = sizes_NH.mean(dim=0) * torch.linalg.vector_norm(expert.down, dim=0)
    return scores_H


def taylor_scores(expert: FeedForward, inputs_ND: Tensor, output_grads_ND: Tensor, activation: Activation) -> Tensor:
    """Return the first-order change of the loss if each hidden unit were removed: E|h_j · ∂L/∂h_j|, as (H,).

    Args:
        expert: the layer.
        inputs_ND: what it reads.
        output_grads_ND: (N, D') gradient of the loss with respect to the layer's output, the gate's weight included.
        activation: φ.

    Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference" (arXiv 1611.06440),
    equation 7.
    """
    hidden_NH = expert.hidden(inputs_ND, activation)
    return (hidden_NH * (output_grads_ND @ expert.down)).abs().mean(dim=0)


def gather_least_squares(
    experts: Sequence[FeedForward],
    inputs_ND: Tensor,
    weights_NE: Tensor,
    activation: Activation,
    width: int | None = None,
    ridge: float = 1e-3,
) -> FeedForward:
    """Keep the hidden units that carry most of the sparse layer's output, and fit the output weights in closed form.

    The units are those of the largest :func:`activation_scores` under the gate, from all experts together, so a much
    used expert gives more. With H their activations on the layer's own inputs, and Y the sparse layer's outputs there,
    [down | bias] minimises ‖H̃ W - Y‖² / N + λ ‖W - W_0‖², H̃ = [H | 1]; W_0 are the kept weights times the mean weight
    that the gate gave their expert, so that little data changes little.

    Args:
        experts: E layers of equal shape.
        inputs_ND: what the sparse layer reads, some thousands of rows.
        weights_NE: the gate's weight of each expert for each row, 0 where it was not chosen.
        activation: φ.
        width: hidden units of the dense layer; None for one expert's number.
        ridge: λ as a multiple of the mean squared activation.

    Raises:
        UserError: the width asks for more units than there are, or the ridge is not above 0.

    This gather is our own.
    """
    width = experts[0].width if width is None else width
    units = sum(expert.width for expert in experts)
    if not 1 <= width <= units:
        raise UserError(f"width must be between 1 and the experts' {units} units, got {width}; change it")
    if ridge <= 0:
        raise UserError(f"ridge must be above 0, got {ridge}; 1e-3 is a little")
    kept = _best_units(experts, inputs_ND, weights_NE, activation, width)
    layer = keep_units(_scaled(experts, weights_NE.mean(dim=0)), kept)
    outputs_ND = sum(weights_NE[:, e, None] * expert(inputs_ND, activation) for e, expert in enumerate(experts))
    hidden_NH = layer.hidden(inputs_ND, activation)
    down, bias = _ridge_fit(hidden_NH, torch.as_tensor(outputs_ND), layer, ridge)
    return replace(layer, down=down, down_bias=bias)


def _best_units(
    experts: Sequence[FeedForward], inputs_ND: Tensor, weights_NE: Tensor, activation: Activation, width: int
) -> list[Tensor]:
    scores = [activation_scores(expert, inputs_ND, activation, weights_NE[:, e]) for e, expert in enumerate(experts)]
    best = torch.zeros(sum(len(each) for each in scores), dtype=torch.bool)
    best[torch.cat(scores).topk(width).indices] = True
    return [mask.nonzero().squeeze(1) for mask in torch.split(best, [len(each) for each in scores])]


def _scaled(experts: Sequence[FeedForward], shares_E: Tensor) -> list[FeedForward]:
    """Return the experts with their outputs times their share; the biases so that their mean is the shares' sum."""
    return [
        replace(
            expert,
            down=expert.down * share,
            down_bias=None if expert.down_bias is None else expert.down_bias * share * len(experts),
        )
        for expert, share in zip(experts, shares_E)
    ]


def _ridge_fit(hidden_NH: Tensor, outputs_ND: Tensor, start: FeedForward, ridge: float) -> tuple[Tensor, Tensor | None]:
    """Solve the normal equations in float64; a layer without an output bias gets none."""
    hidden, outputs = hidden_NH.double(), outputs_ND.double()
    first = start.down.T.double()
    if start.down_bias is not None:
        hidden = torch.cat([hidden, hidden.new_ones(len(hidden), 1)], dim=1)
        first = torch.cat([first, start.down_bias[None].double()])
    gram = hidden.T @ hidden / len(hidden)
    penalty = ridge * gram.diagonal().mean().clamp_min(1e-12)
    gap = hidden.T @ (outputs - hidden @ first) / len(hidden)
    solved = first + torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=gram.dtype), gap)
    solved = solved.to(start.down.dtype)
    if start.down_bias is None:
        return solved.T, None
    return solved[:-1].T, solved[-1]
