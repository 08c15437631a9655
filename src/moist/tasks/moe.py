"""Train a network with sparse layers, on labels; its experts may learn from each other."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from moist.config import Settings
from moist.losses import mutual_distillation_loss
from moist.moe import Among, LayerFacts, SparseSettings, router_loss
from moist.routing import BiasBalancedRouter, overflow, unserved
from moist.types import Batch, UserError

__all__ = ["MoETask", "MutualSettings", "MutualTask", "RoutedNetwork"]


class RoutedNetwork(Protocol):
    """What the tasks need of a network."""

    @property
    def sparse_layers(self) -> list[nn.Module]:
        """The sparse layers, each with a ``router``, in the order of the facts."""
        ...

    def forward_facts(self, inputs: Tensor, among: Among | None = None) -> tuple[Tensor, list[LayerFacts]]:
        """Return logits (N, C), and what each sparse layer did."""
        ...


class MutualSettings(Settings):
    """How experts learn from each other."""

    weight: float = Field(0.1, ge=0, description="weight of the loss; too much makes the experts alike")
    form: Literal["squared", "kl"] = Field(
        "squared", description="squared distance to the experts' mean, or divergence from it, outputs read as logits"
    )
    among: Among = Field(
        "all", description="compare all experts on every input, or only those `chosen` for it (top_k of at least 2)"
    )


class MoETask(nn.Module):
    """Cross-entropy of the labels, and the losses that keep routers balanced.

    A dense network has no routers and is trained on the labels alone, so both sides of a comparison share this task.

    Args:
        network: a :class:`RoutedNetwork`.
        sparse: the settings of its sparse layers; None for a dense network.
        label_smoothing: share of a label's mass that is spread evenly over all classes.
    """

    among: Among | None = None

    def __init__(self, network: nn.Module, sparse: SparseSettings | None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.sparse = sparse
        self.label_smoothing = label_smoothing

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss, accuracy, and where there are routers their loss and the shares of choices and rows left out.

        Raises:
            UserError: the batch has no labels.
        """
        del progress
        if batch.target is None:
            raise UserError(
                "training on labels needs data with labels, got none; label them or leave out augment.cutmix"
            )
        logits, facts = self.network.forward_facts(batch.inputs, self.among)  # type: ignore[operator]
        logits = logits.float()
        loss = F.cross_entropy(logits, batch.target, label_smoothing=self.label_smoothing)
        accuracy = (logits.detach().argmax(dim=1) == batch.target).float().mean()
        values = {"loss": loss, "accuracy": accuracy}
        if self.sparse is None or not facts:
            return values
        values |= self._routing(facts, self.sparse)
        self._rebalance(facts)
        return values | {"loss": loss + values["router"] + self._extra(facts, values)}

    def _routing(self, facts: list[LayerFacts], sparse: SparseSettings) -> dict[str, Tensor]:
        routings = [fact.routing for fact in facts]
        return {
            "router": torch.stack([router_loss(routing, sparse) for routing in routings]).mean(),
            "overflow": torch.stack([overflow(routing) for routing in routings]).mean(),
            "unserved": torch.stack([unserved(routing) for routing in routings]).mean(),
        }

    def _rebalance(self, facts: list[LayerFacts]) -> None:
        if not self.training:
            return
        for layer, fact in zip(self.network.sparse_layers, facts):  # type: ignore[arg-type]
            if isinstance(layer.router, BiasBalancedRouter):
                layer.router.rebalance(fact.routing)

    def _extra(self, facts: list[LayerFacts], values: dict[str, Tensor]) -> Tensor:
        del facts
        return values["loss"].new_zeros(())


class MutualTask(MoETask):
    """Mixture of experts with mutual distillation: the experts of each layer are drawn moderately towards their mean.

    Each expert sees only what the gate sends it, a narrow view; what the others know of the same inputs widens it.

    Args:
        network: as for :class:`MoETask`.
        sparse: the settings of its sparse layers.
        mutual: weight and form.
        label_smoothing: as for :class:`MoETask`.

    Raises:
        UserError: the network is dense, or the chosen are compared where fewer than two are chosen or some left out.

    Xie et al. 2024, "MoDE" (arXiv 2402.00893), in our interpretation, see
    :func:`moist.losses.mutual_distillation_loss`.
    """

    def __init__(
        self, network: nn.Module, sparse: SparseSettings | None, mutual: MutualSettings, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(network, sparse, label_smoothing)
        if sparse is None or sparse.num_experts < 2:
            raise UserError("mutual_distillation needs at least 2 experts, got a dense network; set student.sparse")
        partial = sparse.top_k < 2 or sparse.capacity_factor is not None or sparse.router in ("gshard", "soft")
        if mutual.among == "chosen" and (partial or sparse.router == "expert-choice"):
            raise UserError(
                "mutual_distillation.among 'chosen' needs at least 2 experts for every input and no capacity, got "
                f"router {sparse.router!r} with top_k {sparse.top_k}; take among: all"
            )
        self.mutual = mutual
        self.among = mutual.among

    def _extra(self, facts: list[LayerFacts], values: dict[str, Tensor]) -> Tensor:
        outputs = [fact.expert_outputs for fact in facts if fact.expert_outputs is not None]
        losses = [mutual_distillation_loss(each.flatten(2).float(), self.mutual.form) for each in outputs]
        values["disagreement"] = torch.stack(losses).mean()
        return self.mutual.weight * values["disagreement"]
