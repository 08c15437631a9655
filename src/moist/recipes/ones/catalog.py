"""The studies of integration by name: what each trains."""

from __future__ import annotations

from typing import Any

__all__ = ["SMALL", "STUDIES"]

EXPERTS = {"num_experts": 8, "top_k": 2, "combine": "renormalize"}
STUDIES: dict[str, dict[str, Any]] = {
    "ones-text": {
        "data": ["trec50", "banking77", "clinc150"],
        "limit": 5_000,
        "transform": {"word_ngrams": 1, "max_length": 20, "num_buckets": 4096},
        "student": {"family": "transformer", "width": 16, "depth": 1, "sparse": EXPERTS},
        "training": {"epochs": 15, "batch_size": 64, "learning_rate": 0.005},
        "refine": {
            "loss": {"temperature": 2.0, "hard_weight": 0.25},
            "training": {"epochs": 15, "batch_size": 64, "learning_rate": 0.005},
        },
    },
}
SMALL = ("data=[trec50]", "limit=1000", "training.epochs=2", "refine.training.epochs=1", "methods=[average]")
