"""The network of a mixture density: from inputs to weights, means and scales of Gaussian components."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moist.types import Batch

__all__ = ["DensityNetwork", "DensityTask", "RowBatches"]


class DensityNetwork(nn.Module):
    """A perceptron whose outputs are the parameters of a Gaussian mixture over one standardised target.

    Scales are a softplus above a floor: it neither overflows, as an exponential does, nor reaches zero, where the
    likelihood of a single row would grow without bound.

    Args:
        num_features: D.
        hidden: units of each hidden layer.
        num_components: M.
        least_scale: the floor, in standard deviations of the target.
        dropout: share of hidden units dropped while training.
    """

    def __init__(
        self, num_features: int, hidden: tuple[int, ...], num_components: int, least_scale: float, dropout: float
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(num_features, width), nn.Tanh(), nn.Dropout(dropout)]
            num_features = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(num_features, 3 * num_components)
        self.least_scale = least_scale
        with torch.no_grad():
            # Components start side by side, equally likely; `start_at` puts them where the targets are.
            self.head.weight.mul_(0.1)
            log_weights, means, scales = self.head.bias.chunk(3)
            log_weights.zero_()
            means.copy_(torch.linspace(-1, 1, num_components) if num_components > 1 else torch.zeros(1))
            scales.fill_(math.log(math.expm1(1 / num_components)))

    @torch.no_grad()
    def start_at(self, target: Tensor) -> None:
        """Put the components' first means at evenly spaced quantiles of the targets, so that none starts far from all.

        Args:
            target: (N,) standardised.
        """
        _, means, _ = self.head.bias.chunk(3)
        levels = (torch.arange(len(means), dtype=torch.float64) + 0.5) / len(means)
        means.copy_(torch.from_numpy(np.quantile(target.double().numpy(), levels.numpy())))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log weights, means and scales, each (N, M)."""
        log_weights, means, scales = self.head(self.body(inputs)).chunk(3, dim=1)
        return log_weights.log_softmax(dim=1), means, F.softplus(scales) + self.least_scale

    def log_density(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Return log p(y | x) as (N,), summed in log space.

        Bishop 1994, "Mixture Density Networks" (Aston University NCRG/94/004), equations 22 and 29.
        """
        log_weights, means, scales = self(inputs)
        standard = (target[:, None] - means) / scales
        components = -0.5 * (standard.square() + math.log(2 * math.pi)) - scales.log()
        result: Tensor = (log_weights + components).logsumexp(dim=1)
        return result


class DensityTask(nn.Module):
    """Train a density network on the negative log-likelihood of the targets.

    Args:
        network: the network.
        target: (N,) standardised targets of all rows; a batch names its rows.
    """

    def __init__(self, network: DensityNetwork, target: Tensor) -> None:
        super().__init__()
        self.network = network
        self._target = target

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood of one batch, in nats."""
        del progress
        return {"loss": -self.network.log_density(batch.inputs, self._target[batch.index]).mean()}


class RowBatches:
    """Batches of rows of an array, in an order that (seed, epoch) alone decide.

    Args:
        inputs: (N, D).
        batch_size: rows of a batch.
        seed: of the order.
    """

    def __init__(self, inputs: Tensor, batch_size: int, seed: int) -> None:
        self.inputs, self.batch_size, self.seed = inputs, batch_size, seed

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return max(len(self.inputs) // self.batch_size, 1)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of one epoch; an incomplete last one is dropped unless it is the only one."""
        order = torch.from_numpy(np.random.default_rng([self.seed, epoch]).permutation(len(self.inputs)))
        for number in range(len(self)):
            index = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield Batch(index, torch.zeros_like(index), self.inputs[index], None)
