"""A run's result document and details on scikit-learn's digits, for the tests of this room."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from moist.report import DomainSample, ReportDetails

SIZES = {
    "teacher": (0.98, None, 2_500_000),
    "student_same_cost": (0.92, 840, 900),
    "student_same_total": (0.96, 5600, 5700),
    "generalist": (0.88, 480, 500),
    "mixture": (0.95, 804, 5630),
    "mixture_oracle_router": (0.985, 804, 5630),
    "mixture_random_partition": (0.915, 804, 5630),
    "mixture_class_domains": (0.86, 812, 5640),
    "cascade": (0.935, 804, 3100),
    "mixture_deferring": (0.97, 1900, 9000),
}


def system(accuracy: float, macs: float | None, params: int, seeds: int) -> dict[str, Any]:
    values = [accuracy + 0.001 * (seed - (seeds - 1) / 2) for seed in range(seeds)]
    std = float(np.std(values, ddof=1)) if seeds > 1 else None
    return {
        "accuracy": {"mean": accuracy, "std": std, "values": values},
        "active_macs": macs,
        "active_params": macs,
        "total_params": params,
        "bytes": 4 * params,
        "ece": 0.02,
        "latency_ms": {"batch_1": 0.06},
    }


def example_metrics(seeds: int = 3) -> dict[str, Any]:
    frontier = [(4, 240, 0.80), (8, 420, 0.865), (24, 1700, 0.945), (40, 3300, 0.957), (60, 6700, 0.965)]
    return {
        "schema": 1,
        "name": "digits",
        "command": "moist reproduce digits --budget full",
        "date": "2025-11-20",
        "data": {"name": "digits", "train": 1258, "validation": 179, "test": 360},
        "teacher": {"name": "SVM and three MLPs", "params": 2_500_000, "macs": None},
        "seeds": list(range(seeds)),
        "versions": {"moist": "0.1.0", "python": "3.11", "torch": "2.13"},
        "machine": {"cpu": "some CPU", "cores": 4, "accelerator": None},
        "seconds": 93.2,
        "systems": {name: system(*sizes, seeds) for name, sizes in SIZES.items()},
        "frontier": [{"name": f"student-w{w}", **system(a, macs, macs, seeds)} for w, macs, a in frontier],
        "derived": {"gap_recovered": 0.5, "cost_ratio_at_equal_accuracy": 2.61, "routed_right": 0.87},
    }


def example_details(num_domains: int = 8) -> ReportDetails:
    digits = load_digits()
    domain = digits.target * num_domains // 10
    counts = np.zeros((10, num_domains), dtype=np.int64)
    np.add.at(counts, (digits.target, domain), 1)
    images = (digits.images * 255 / 16).astype(np.uint8)[..., None]
    bins = [(0.4, 0.35, 20), (0.7, 0.72, 80), (0.95, 0.96, 260)]
    curve = [{"loss": 2.0 / (1 + epoch), "accuracy": 1 - 0.8 / (1 + epoch)} for epoch in range(20)]
    return ReportDetails(
        verdict="The mixture is 3.0 points better than one student of the same cost.",
        classes=[str(name) for name in digits.target_names],
        class_by_domain=counts,
        load=np.bincount(domain, minlength=num_domains) / len(domain),
        routing_confusion=np.diag(counts.sum(axis=0)) + 3,
        calibration={"mixture": bins, "student_same_cost": bins},
        domains=[
            DomainSample(images=list(images[domain == k][:8]), top_classes=[(str(k), 0.8), ("9", 0.2)])
            for k in range(num_domains)
        ],
        curves={"mixture": curve, "generalist": [{"loss": 1.0}], "mixture_class_domains/specialist-0": curve},
        config="name: digits\nmixture:\n  num_domains: 8\n",
    )
