"""Gradient-boosted trees of LightGBM as a teacher: the one file that imports it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from moist.data import DataSplits, TableSchema
from moist.progress import say
from moist.storage import content_key
from moist.teachers.labels import spread_columns
from moist.teachers.settings import TeacherSettings
from moist.teachers.training_part import TrainingPart
from moist.types import TeacherSignal, UserError

try:
    import lightgbm
except ImportError as error:
    raise UserError(
        'LightGBM teachers need the package lightgbm, which is not installed; run: pip install "moist[tabular]"'
    ) from error

__all__ = ["LightGBMTeacher"]

# The names by which LightGBM knows the number of trees.
ROUNDS = ("n_estimators", "num_iterations", "num_boost_round")


class LightGBMTeacher:
    """Boosted trees on a raw table: missing values and category codes are read as such. Logits are the raw scores.

    The fit happens when a signal is first asked for, so that a complete cache of signals is opened without it.
    """

    def __init__(self, settings: TeacherSettings, splits: DataSplits, *, quiet: bool = False) -> None:
        if not isinstance(splits.train.schema, TableSchema):
            raise UserError(f"a lightgbm teacher reads tables, got {splits.train.kind} data; use another teacher.kind")
        self.settings = settings
        self.name = settings.name or "LightGBM"
        self._quiet = quiet
        self._part = TrainingPart(splits.train)
        self._categorical = [i for i, c in enumerate(splits.train.schema.columns) if c.kind == "categorical"]
        self.classes = self._part.classes
        self.key = content_key(
            *("lightgbm", settings.params, settings.seed, splits.train.fingerprint, self.classes),
            lightgbm.__version__,
        )

    @property
    def num_params(self) -> int:
        """Leaf values and split thresholds of all trees."""
        trees = self._booster.dump_model()["tree_info"]
        return sum(2 * int(tree["num_leaves"]) - 1 for tree in trees)

    def signal(self, raw: np.ndarray) -> TeacherSignal:
        """Return logits (N, C) of raw rows (N, F)."""
        scores = np.asarray(self._booster.predict(raw, raw_score=True, num_threads=self._num_threads), dtype=np.float32)
        if scores.ndim == 1:
            # Two classes have one score, the log-odds.
            scores = np.stack([-scores / 2, scores / 2], axis=1)
        if len(self._present) < len(self.classes):
            log_probabilities = torch.log_softmax(torch.from_numpy(scores), dim=1).numpy()
            scores = spread_columns(log_probabilities, self._present, len(self.classes))
        return TeacherSignal(torch.from_numpy(scores))

    def macs(self, raw: np.ndarray) -> float | None:  # noqa: ARG002 - the interface has it
        """Return None: trees compare, they do not multiply."""
        return None

    @property
    def _num_threads(self) -> int:
        return self.settings.threads or torch.get_num_threads()

    @cached_property
    def _present(self) -> np.ndarray:
        """Numbers of the classes that the training part has."""
        return np.unique(self._part.target)

    @cached_property
    def _booster(self) -> Any:
        if not self._quiet:
            say(f"Fitting {self.name} on {len(self._part.inputs)} examples")
        params: dict[str, Any] = {"deterministic": True, "force_row_wise": True, "verbosity": -1}
        params |= {"seed": self.settings.seed} if "random_state" not in self.settings.params else {}
        params |= self.settings.params | {"num_threads": self._num_threads}
        rounds = [params.pop(name) for name in ROUNDS if name in params] or [100]
        several = len(self._present) > 2
        params |= {"objective": "multiclass", "num_class": len(self._present)} if several else {"objective": "binary"}
        columns: Any = self._categorical or "auto"
        target = np.searchsorted(self._present, self._part.target)
        rows = lightgbm.Dataset(np.ascontiguousarray(self._part.inputs), target, categorical_feature=columns)
        try:
            return lightgbm.train(params, rows, num_boost_round=int(rounds[0]))
        except lightgbm.basic.LightGBMError as error:
            raise UserError(f"LightGBM refuses teacher.params {self.settings.params}: {error}; mend them") from error
