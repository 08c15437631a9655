"""The mixture as it is deployed: it runs only the specialists that it routes to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from moist.config import Settings
from moist.data import Schema, Transform
from moist.routing import Dispatcher, select_top_k
from moist.types import Routing, UserError

__all__ = ["DeferSettings", "InferenceSettings", "MixtureOfSpecialists", "Prediction", "Specialists"]


class DeferSettings(Settings):
    """Hand doubtful inputs on: those whose confidence lies under a threshold."""

    to: Literal["generalist", "teacher"] = Field(
        "generalist",
        description="who answers them: the generalist, averaged with the specialist, or the teacher instead of it",
    )
    fraction: float = Field(
        0.2, ge=0, le=1, description="share of the validation part that is handed on; the threshold is calibrated to it"
    )


class InferenceSettings(Settings):
    """How a trained mixture answers."""

    top_k: int | Literal["all"] = Field(
        1, description="specialists that run on an input, weighted by the gate; `all` for the soft mixture"
    )
    defer: DeferSettings | None = Field(
        None, description="whether doubtful inputs are handed on, see `inference.defer` below; none: never"
    )


class Specialists(Protocol):
    """K specialists by number: a list in memory, or files opened when first needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int) -> nn.Module: ...

    def __iter__(self) -> Iterator[nn.Module]: ...


@dataclass(frozen=True)
class Prediction:
    """A mixture's answer to N inputs.

    Args:
        probabilities: (N, C).
        routing: which specialists answered.
        deferred: (N,) bool, whether the answer was left to the generalist or the teacher.
    """

    probabilities: Tensor
    routing: Routing
    deferred: Tensor


class MixtureOfSpecialists(nn.Module):
    """A router and K specialists, perhaps behind a shared trunk; an input runs the trunk, the gate and its own choice.

    Args:
        trunk: shared first stages, ``nn.Identity()`` where each specialist is a whole student.
        gate: module to scores (N, K), from the inputs or from the trunk's features.
        specialists: K modules from the trunk's features to logits (N, C).
        reads: what the gate reads.
        inference: how to combine and when to defer.
        threshold: confidence under which an input is deferred.
        generalist: a whole student to defer to.
        classes: the C class names, in the order of the logits.
        transform: from raw inputs to what the students read; needed by :meth:`predict`.
        schema: what raw inputs look like.
    """

    def __init__(
        self,
        trunk: nn.Module,
        gate: nn.Module,
        specialists: Specialists,
        *,
        reads: Literal["inputs", "trunk"] = "inputs",
        inference: InferenceSettings | None = None,
        threshold: float = 0.0,
        generalist: nn.Module | None = None,
        classes: Sequence[str] = (),
        transform: Transform | None = None,
        schema: Schema | None = None,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.gate = gate
        self.specialists = specialists
        self.reads = reads
        self.inference = inference or InferenceSettings()
        self.threshold = threshold
        self.generalist = generalist
        self.classes = tuple(classes)
        self.transform = transform
        self.schema = schema

    @property
    def num_domains(self) -> int:
        """K, the number of specialists."""
        return len(self.specialists)

    def scores(self, inputs: Tensor, features: Tensor) -> Tensor:
        """Return the gate's scores (N, K)."""
        result: Tensor = self.gate(features if self.reads == "trunk" else inputs)
        return result

    def route(self, inputs: Tensor) -> Routing:
        """Return which specialists serve each input, without running them."""
        return self._select(self.scores(inputs, self.trunk(inputs)))

    def _select(self, scores_NK: Tensor) -> Routing:
        top_k = self.num_domains if self.inference.top_k == "all" else self.inference.top_k
        return select_top_k(scores_NK, top_k, "renormalize")

    def forward(self, inputs: Tensor) -> Prediction:
        """Answer a batch of inputs (N, ...): group rows by specialist, run only those, and put the answers in order."""
        features = self.trunk(inputs)
        routing = self._select(self.scores(inputs, features))
        dispatcher = Dispatcher(routing, self.num_domains)
        outputs = [
            self.specialists[k](rows).softmax(dim=-1) if len(rows) else None
            for k, rows in enumerate(dispatcher.dispatch(features))
        ]
        probabilities = dispatcher.combine(outputs)
        return self._defer(inputs, probabilities, routing)

    def _defer(self, inputs: Tensor, probabilities: Tensor, routing: Routing) -> Prediction:
        defer = self.inference.defer
        doubtful = torch.zeros(len(inputs), dtype=torch.bool, device=probabilities.device)
        if defer is not None:
            doubtful = probabilities.amax(dim=1) < self.threshold
            if defer.to == "generalist" and doubtful.any():
                if self.generalist is None:
                    raise UserError(
                        "deferring to the generalist needs one, and this mixture has none; give it generalist=..., or "
                        "set inference.defer to None"
                    )
                second = self.generalist(inputs[doubtful]).softmax(dim=-1)
                probabilities = probabilities.clone()
                probabilities[doubtful] = (probabilities[doubtful] + second) / 2
        return Prediction(probabilities, routing, doubtful)

    def forward_all(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gate's scores (N, K) and *every* specialist's logits (N, K, C): for analysis, not for serving."""
        features = self.trunk(inputs)
        logits = torch.stack([specialist(features) for specialist in self.specialists], dim=1)
        return self.scores(inputs, features), logits

    @torch.inference_mode()
    def predict_all(self, raw: np.ndarray, batch_size: int = 1024) -> Prediction:
        """Answer raw inputs (N, ...) as the data set holds them: uint8 images, table rows, or texts."""
        if self.transform is None:
            raise UserError(
                "predict needs the mixture's transform, and this mixture has none; load it with moist.load_bundle"
            )
        if len(raw) == 0:
            raise UserError("predict needs at least one input, got none")
        self.eval()
        # A copy where the array may not be written to, such as a memory map: torch warns of any other.
        encoded = torch.from_numpy(np.require(self.transform.encode(raw), requirements="W"))
        parts = [self(self.transform.to_tensor(rows)) for rows in torch.split(encoded, batch_size)]
        return Prediction(
            torch.cat([part.probabilities for part in parts]),
            Routing(
                torch.cat([part.routing.logits for part in parts]),
                torch.cat([part.routing.expert_indices for part in parts]),
                torch.cat([part.routing.expert_weights for part in parts]),
            ),
            torch.cat([part.deferred for part in parts]),
        )

    def predict_proba(self, raw: np.ndarray) -> np.ndarray:
        """Return class probabilities (N, C) of raw inputs."""
        result: np.ndarray = self.predict_all(raw).probabilities.numpy()
        return result

    def predict(self, raw: np.ndarray) -> np.ndarray:
        """Return the most probable class name of each raw input, as an array (N,) of strings."""
        names: np.ndarray = np.asarray(self.classes, dtype=object)[self.predict_proba(raw).argmax(axis=1)]
        return names
