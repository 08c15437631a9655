"""The studies of mutual distillation by name: what each trains."""

from __future__ import annotations

from typing import Any

__all__ = ["SMALL", "SMALL_DATA", "STUDIES"]

EXPERTS = {"num_experts": 8, "top_k": 2, "combine": "renormalize"}
WEIGHTS = {
    "squared_weights": [0.03, 0.1, 0.3, 1, 3, 10, 30],
    "kl_weights": [0.1, 0.3, 1, 3],
    "chosen_weights": [0.03, 0.1, 0.3, 1],
}
STUDIES: dict[str, dict[str, Any]] = {
    "mode-tabular": {
        "data": ["covtype20k", "letter", "dry_bean", "adult", "satimage", "pendigits", "magic"],
        "train_rows": 500,
        "student": {"family": "mlp", "width": 16, "sparse": EXPERTS},
        **WEIGHTS,
        "training": {"epochs": 40, "batch_size": 64, "learning_rate": 0.01},
    },
    "mode-text": {
        "data": ["trec50", "banking77"],
        "train_rows": 1000,
        "transform": {"word_ngrams": 1, "max_length": 32, "num_buckets": 4096},
        "student": {"family": "bag", "width": 32, "depth": 1, "sparse": EXPERTS},
        **WEIGHTS,
        "squared_weights": [*WEIGHTS["squared_weights"], 100, 300],
        "training": {"epochs": 30, "batch_size": 64, "learning_rate": 0.01},
    },
    "mode-vision": {
        "data": ["mnist", "cifar10"],
        "train_rows": 1000,
        "validation": 0.05,
        "student": {"family": "mlp", "width": 32, "sparse": EXPERTS},
        **WEIGHTS,
        "training": {"epochs": 30, "batch_size": 64, "learning_rate": 0.003},
    },
}
# Of a trial: the first two data sets, and these changes.
SMALL_DATA = 2
SMALL = ("squared_weights=[0.1, 3]", "kl_weights=[0.1]", "chosen_weights=[0.1]", "training.epochs=3")
