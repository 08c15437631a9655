"""Send each input to its chosen experts only, and put the answers back in order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moist.types import Routing

__all__ = ["Dispatcher"]


class Dispatcher:
    """Group the rows of a batch by expert; nothing is padded and no expert runs without a row.

    Args:
        routing: the router's decision for N inputs.
        num_experts: E; by default the width of the routing's logits.
    """

    def __init__(self, routing: Routing, num_experts: int | None = None) -> None:
        self.num_experts = num_experts or routing.logits.shape[-1]
        num_rows, top_k = routing.expert_indices.shape
        flat = routing.expert_indices.flatten()
        order = flat.argsort(stable=True)
        self._order = order
        self._rows = order // top_k
        self._weights = routing.expert_weights.flatten()[order]
        self._counts: list[int] = torch.bincount(flat, minlength=self.num_experts).tolist()
        self._num_rows, self._top_k = num_rows, top_k

    @property
    def counts(self) -> list[int]:
        """Rows that each of the E experts serves."""
        return self._counts

    def rows(self) -> list[Tensor]:
        """Return, for each expert, the (n_e,) positions of its rows in the batch."""
        return list(torch.split(self._rows, self._counts))

    def dispatch(self, inputs: Tensor) -> list[Tensor]:
        """Return, for each expert, its rows of ``inputs`` (N, ...) as (n_e, ...)."""
        return list(torch.split(inputs[self._rows], self._counts))

    def collect(self, outputs: Sequence[Tensor | None]) -> Tensor:
        """Return the experts' outputs unweighted, each at the (row, choice) that it answers: (N, K, ...).

        Args:
            outputs: for each expert (n_e, ...), or None where it served no row.
        """
        stacked = torch.cat([output for output in outputs if output is not None])
        collected = stacked.new_empty(stacked.shape).index_copy(0, self._order, stacked)
        return torch.unflatten(collected, 0, (self._num_rows, self._top_k))

    def combine(self, outputs: Sequence[Tensor | None]) -> Tensor:
        """Return the weighted sum (N, ...) of the experts' outputs.

        Args:
            outputs: for each expert (n_e, ...), or None where it served no row.

        Raises:
            ValueError: no expert gave an output.
        """
        present = [output for output in outputs if output is not None and output.shape[0]]
        if not present:
            raise ValueError(
                "combine needs the output of at least one expert, got none; dispatch a batch of one or more rows"
            )
        stacked = torch.cat(present)
        weights = self._weights.to(stacked.dtype).view(-1, *[1] * (stacked.dim() - 1))
        combined = stacked.new_zeros(self._num_rows, *stacked.shape[1:])
        return combined.index_add(0, self._rows, stacked * weights)
