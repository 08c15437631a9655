"""What a report shows beside the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["DomainSample", "ReportDetails"]


@dataclass(frozen=True)
class DomainSample:
    """What one domain looks like.

    Args:
        images: uint8 (H, W, C) thumbnails, for vision.
        texts: examples, for text.
        features: (name, mean of the domain in standard deviations from the overall mean), for tables, most telling
            first.
        top_classes: (class name, share of the domain's inputs), largest first.
    """

    images: Sequence[np.ndarray] = ()
    texts: Sequence[str] = ()
    features: Sequence[tuple[str, float]] = ()
    top_classes: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True)
class ReportDetails:
    """Everything of a run that is too large for ``metrics.json``.

    Args:
        verdict: the finding in one or two sentences.
        classes: C class names.
        class_by_domain: (C, K) test inputs of each class that each specialist served.
        load: (K,) share of the test inputs that each specialist served.
        routing_confusion: (K, K) rows the domain an input belongs to, columns the specialist it was sent to; for
            methods without class domains the row is the specialist most confident of the right class. None without
            labels.
        calibration: for a few systems, (confidence, accuracy, count) of each of 15 bins.
        domains: K samples.
        curves: for each trained system, the values of each epoch.
        config: the resolved configuration as YAML.
    """

    verdict: str
    classes: Sequence[str]
    class_by_domain: np.ndarray
    load: np.ndarray
    routing_confusion: np.ndarray | None
    calibration: Mapping[str, Sequence[tuple[float, float, int]]]
    domains: Sequence[DomainSample]
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    config: str = ""
