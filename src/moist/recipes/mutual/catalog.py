"""The studies of mutual distillation by name: what each trains."""

from __future__ import annotations

from typing import Any

__all__ = ["SMALL", "STUDIES"]

STUDIES: dict[str, dict[str, Any]] = {
    "mode-tabular": {
        "data": ["covtype20k", "letter", "dry_bean", "adult", "satimage", "pendigits", "magic"],
        "train_rows": 500,
        "student": {
            "family": "mlp",
            "width": 16,
            "sparse": {"num_experts": 8, "top_k": 2, "combine": "renormalize"},
        },
        "squared_weights": [0.03, 0.1, 0.3, 1, 3, 10, 30],
        "kl_weights": [0.1, 0.3, 1, 3],
        "training": {"epochs": 40, "batch_size": 64, "learning_rate": 0.01},
    },
}
SMALL: dict[str, Any] = {"squared_weights": [0.1, 3], "kl_weights": [0.1]}
