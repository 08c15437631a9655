"""The studies of integration by name: what each trains."""

from __future__ import annotations

from typing import Any

__all__ = ["SMALL", "SMALL_DATA", "STUDIES"]

EXPERTS = {"num_experts": 8, "top_k": 2, "combine": "renormalize"}
STUDIES: dict[str, dict[str, Any]] = {
    "ones-text": {
        "data": ["trec50", "banking77", "clinc150", "sst2"],
        "limit": 5_000,
        "transform": {"word_ngrams": 1, "max_length": 20, "num_buckets": 4096},
        "student": {
            "family": "transformer",
            "width": 16,
            "depth": 1,
            "heads": 1,
            "sparse": {**EXPERTS, "num_experts": 16, "top_k": 8},
        },
        "training": {"epochs": 10, "batch_size": 64, "learning_rate": 0.005},
        "refine": {
            "loss": {"temperature": 2.0, "hard_weight": 0.25},
            "training": {"epochs": 10, "batch_size": 64, "learning_rate": 0.005},
        },
        "short": [1, 3],
    },
    "ones-vision": {
        "data": ["cifar10"],
        "limit": 5_000,
        "student": {
            "family": "vit",
            "width": 32,
            "depth": 3,
            "stem_stride": 8,
            "sparse": {**EXPERTS, "num_experts": 16, "top_k": 4},
        },
        "origin": {"epochs": 6, "batch_size": 128, "learning_rate": 0.003},
        "training": {"epochs": 8, "batch_size": 128, "learning_rate": 0.003},
        "refine": {
            "loss": {"temperature": 2.0, "hard_weight": 0.25},
            "training": {"epochs": 10, "batch_size": 128, "learning_rate": 0.003},
        },
        "short": [1, 3],
    },
}
# Of a trial: the first data set, and these changes.
SMALL_DATA = 1
SMALL = (
    *("limit=1000", "training.epochs=2", "refine.training.epochs=2"),
    *("short=[1]", "methods=[average]"),
)
