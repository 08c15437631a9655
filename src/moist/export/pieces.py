"""From a mixture of torch modules to fragments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from moist.data import TableTransform, TextTransform, Transform
from moist.errors import UserError
from moist.export.capture import capture
from moist.export.routed_graph import MixtureFragments
from moist.export.transform_graph import transform_fragment
from moist.mixture import MixtureOfSpecialists, SpecialistEnsemble

__all__ = ["example_inputs", "graph_inputs", "mixture_fragments"]

EXAMPLES = 5


def mixture_fragments(mixture: MixtureOfSpecialists, load: Sequence[float] | None = None) -> MixtureFragments:
    """Return the graphs of all parts of a mixture, each checked against torch.

    Args:
        mixture: with its transform.
        load: share of the inputs that each specialist serves, where it is known.

    Raises:
        UserError: a part cannot be said in ONNX, or the transform is missing.
    """
    if mixture.transform is None:
        raise UserError("an export needs the mixture's transform, this one has none; load it with moist.load_bundle")
    if isinstance(mixture, SpecialistEnsemble):
        raise UserError(
            "an export needs a router that chooses specialists, this mixture has a generalist that agrees with them; "
            "use the bundle itself, or a mixture of another mixture.method"
        )
    inputs = example_inputs(mixture.transform)
    with torch.inference_mode():
        # A copy, since what inference mode makes cannot be traced.
        features = mixture.trunk.eval()(inputs)
    inputs, features = inputs.clone(), torch.from_numpy(features.numpy().copy())
    inference, num_domains = mixture.inference, mixture.num_domains
    defer = inference.defer
    asked = mixture.generalist if defer is not None and defer.to == "generalist" else None
    return MixtureFragments(
        transform=transform_fragment(mixture.transform),
        trunk=capture(mixture.trunk, inputs, "the trunk"),
        gate=capture(mixture.gate, features if mixture.reads == "trunk" else inputs, "the router"),
        specialists=tuple(
            capture(specialist, features, f"specialist {k}") for k, specialist in enumerate(mixture.specialists)
        ),
        generalist=None if asked is None else capture(asked, inputs, "the generalist"),
        reads=mixture.reads,
        top_k=num_domains if inference.top_k == "all" else inference.top_k,
        threshold=None if defer is None else float(np.float32(mixture.threshold)),
        load=tuple(load or [1 / num_domains] * num_domains),
    )


def example_inputs(transform: Transform) -> Tensor:
    """Return a few inputs as students read them, drawn at random: enough to trace and compare graphs with."""
    random = np.random.default_rng(0)
    shape = transform.input_shape
    if isinstance(transform, TextTransform):
        ids = random.integers(1, shape.num_buckets + 1, (EXAMPLES, *shape.shape))
        lengths = random.integers(1, shape.shape[0] + 1, (EXAMPLES, 1))
        return torch.from_numpy(np.where(np.arange(shape.shape[0]) < lengths, ids, 0))
    inputs = random.normal(size=(EXAMPLES, *shape.shape)).astype(np.float32)
    if isinstance(transform, TableTransform):
        for i, count in enumerate(shape.num_categories, start=shape.shape[0] - len(shape.num_categories)):
            inputs[:, i] = random.integers(0, count, EXAMPLES)
    return torch.from_numpy(inputs)


def graph_inputs(transform: Transform, raw: np.ndarray) -> np.ndarray:
    """Return raw inputs as the exported graphs read them: texts as token ids, all else as it is."""
    if isinstance(transform, TextTransform):
        return transform.encode(raw).astype(np.int64)
    return np.ascontiguousarray(raw)
