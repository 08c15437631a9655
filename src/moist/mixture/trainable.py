"""A mixture in the form that trains fastest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moist.mixture.model import MixtureOfSpecialists
from moist.mixture.settings import Reads
from moist.mixture.stacked import LoopedSpecialists, stack_if_possible
from moist.routing import Dispatcher
from moist.types import Routing

__all__ = ["TrainableMixture"]


class TrainableMixture(nn.Module):
    """Trunk, gate and specialists in the form that trains fastest; :meth:`deploy` gives the mixture itself.

    Args:
        trunk: shared stages.
        gate: scores (N, K).
        members: K specialists of one shape.
        reads: what the gate reads.
        sparse: keep the specialists apart, so that :meth:`forward_drawn` can run some of them.
    """

    def __init__(
        self, trunk: nn.Module, gate: nn.Module, members: Sequence[nn.Module], reads: Reads, *, sparse: bool = False
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.gate = gate
        self.specialists = LoopedSpecialists(members) if sparse else stack_if_possible(members)
        self.reads: Reads = reads

    def forward_all(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gate's scores (N, K) and all specialists' logits (N, K, C)."""
        features = self.trunk(inputs)
        scores: Tensor = self.gate(features if self.reads == "trunk" else inputs)
        return scores, self.specialists(features)

    def forward_drawn(self, inputs: Tensor, num_drawn: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw specialists for each example from the gate, without replacement, and run only those.

        Returns:
            The gate's scores (N, K), the drawn specialists (N, num_drawn), and their logits (N, num_drawn, C).

        Kool, van Hoof and Welling 2019, "Stochastic Beams and Where to Find Them" (arXiv 1903.06059), section 2.3: the
        largest of the scores plus Gumbel noise are such a draw.
        """
        features = self.trunk(inputs)
        scores: Tensor = self.gate(features if self.reads == "trunk" else inputs).float()
        noise = -torch.empty_like(scores).exponential_().log()
        drawn = (scores.detach() + noise).topk(num_drawn, dim=1).indices
        dispatcher = Dispatcher(Routing(scores, drawn, torch.ones_like(scores[:, :num_drawn])))
        outputs = [
            member(rows) if len(rows) else None
            for member, rows in zip(self.specialists.unstack(), dispatcher.dispatch(features))
        ]
        return scores, drawn, dispatcher.collect(outputs)

    def deploy(self) -> MixtureOfSpecialists:
        """Return the mixture that runs only what it routes to, in evaluation mode; it shares trunk and gate."""
        specialists = nn.ModuleList(self.specialists.unstack())
        return MixtureOfSpecialists(self.trunk, self.gate, specialists, reads=self.reads).eval()
