"""Any scikit-learn classifier with ``predict_proba`` as a teacher."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import joblib
import numpy as np
import scipy.sparse
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from moist.data import DataSplits
from moist.importing import import_callable
from moist.progress import say
from moist.storage import content_key
from moist.teachers.labels import LOG_FLOOR, match_classes, spread_columns
from moist.teachers.preprocessing import flatten, preprocessor
from moist.teachers.settings import TeacherSettings
from moist.teachers.training_part import TrainingPart
from moist.types import TeacherSignal, UserError

__all__ = ["SklearnTeacher"]

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "identity": lambda x: x,
}


class SklearnTeacher:
    """A classifier fitted on the training part, unless the factory returns it fitted.

    Logits are log-probabilities, at least log(1e-6). A multi-layer perceptron's last hidden layer is its embedding.
    The fit happens when a signal is first asked for, so that a complete cache of signals is opened without it.
    """

    def __init__(self, settings: TeacherSettings, splits: DataSplits, *, quiet: bool = False) -> None:
        self.settings = settings
        self._quiet = quiet
        self._model = _create(settings)
        self._given_fitted = _is_fitted(self._model)
        # Only a classifier that is yet to be fitted needs labels.
        self._part = None if self._given_fitted else TrainingPart(splits.train)
        self.classes = self._part.classes if self._part else splits.train.classes or _class_names(self._model)
        self.name = settings.name or type(self._model).__name__
        content = joblib.hash(self._model) if self._given_fitted else splits.train.fingerprint
        self.key = content_key(
            *("sklearn", settings.estimator, settings.params, settings.factory, settings.kwargs),
            *(settings.preprocess, settings.seed, content, self.classes, sklearn.__version__),
        )

    @property
    def num_params(self) -> int:
        """Learned numbers: the floats in all fitted arrays, and the nodes of trees."""
        return _count_learned(self._fitted)

    def signal(self, raw: np.ndarray) -> TeacherSignal:
        """Return logits (N, C), and a perceptron's embedding (N, D), of raw inputs (N, ...)."""
        with self._threads():
            features, last = self._features(raw)
            probabilities = np.asarray(last.predict_proba(features), dtype=np.float64)
            embedding = _hidden(last, features)
        logits = spread_columns(np.log(np.maximum(probabilities, np.exp(LOG_FLOOR))), *self._spread())
        return TeacherSignal(torch.from_numpy(logits), None if embedding is None else torch.from_numpy(embedding))

    def macs(self, raw: np.ndarray) -> float | None:
        """Return the multiply-accumulates per input of a linear model, perceptron or support vector machine."""
        return _count_macs(self._features(raw[:1])[1])

    def _threads(self) -> threadpool_limits:
        return threadpool_limits(self.settings.threads or torch.get_num_threads())

    def _features(self, raw: np.ndarray) -> tuple[Any, Any]:
        """What the last step of the pipeline reads of raw inputs, and that step."""
        inputs = flatten(raw)
        if isinstance(self._fitted, Pipeline):
            return self._fitted[:-1].transform(inputs), self._fitted[-1]
        return inputs, self._fitted

    def _spread(self) -> tuple[np.ndarray, int]:
        """Which classes the classifier's columns are, and how many classes there are."""
        found = np.asarray(self._fitted.classes_)
        names = _class_names(self._fitted)
        by_number = found.dtype.kind in "iu" and not (self._given_fitted and set(names) <= set(self.classes))
        if by_number and found.min() >= 0 and found.max() < len(self.classes):
            return found.astype(np.int64), len(self.classes)
        # Column j of the classifier is the class whose column is j: the inverse of what match_classes gives.
        return np.argsort(match_classes(names, self.classes, self.name)), len(self.classes)

    @cached_property
    def _fitted(self) -> Any:
        model, part = self._model, self._part
        if part is None:
            return model
        if not self._quiet:
            say(f"Fitting {self.name} on {len(part.inputs)} examples")
        if self.settings.preprocess:
            model = make_pipeline(preprocessor(part.schema), model)
        with self._threads(), warnings.catch_warnings():
            # How long to fit is a setting; stopping there is no fault.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(flatten(part.inputs), part.target)


def _create(settings: TeacherSettings) -> Any:
    if settings.factory:
        model = import_callable(settings.factory, "teacher.factory")(**settings.kwargs)
    else:
        model = _build(str(settings.estimator), settings.params)
    if not hasattr(model, "fit") or not hasattr(model, "predict_proba"):
        raise UserError(
            f"a scikit-learn teacher must have predict_proba, {settings.estimator or settings.factory} gives a "
            f"{type(model).__name__} without; wrap it: estimator: sklearn.calibration.CalibratedClassifierCV, "
            "params: {estimator: {estimator: sklearn.svm.SVC}}"
        )
    return model if _is_fitted(model) else _with_seed(model, settings.seed)


def _build(path: str, params: Mapping[str, Any]) -> Any:
    """Return the estimator at a dotted path; parameters that describe an estimator are built too."""
    values = {
        key: _build(value["estimator"], value.get("params", {}))
        if isinstance(value, Mapping) and "estimator" in value
        else value
        for key, value in params.items()
    }
    try:
        return import_callable(path, "teacher.estimator")(**values)
    except TypeError as error:
        raise UserError(
            f"teacher.params must be parameters of {path}, got {dict(params)} ({error}); mend them"
        ) from error


def _with_seed(model: Any, seed: int) -> Any:
    if not isinstance(model, BaseEstimator):
        return model
    unset = [
        key for key, value in model.get_params().items() if key.rpartition("__")[2] == "random_state" and value is None
    ]
    return model.set_params(**dict.fromkeys(unset, seed))


def _is_fitted(model: Any) -> bool:
    try:
        check_is_fitted(model)
    except (NotFittedError, TypeError):
        return False
    return True


def _class_names(model: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in model.classes_)


def _hidden(model: Any, features: np.ndarray) -> np.ndarray | None:
    """The last hidden layer (N, D) of a perceptron, float32."""
    if not isinstance(model, MLPClassifier) or len(model.coefs_) < 2:
        return None
    hidden = features
    for weight, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        hidden = ACTIVATIONS[model.activation](hidden @ weight + bias)
    return np.asarray(hidden, dtype=np.float32)


def _count_macs(model: Any) -> float | None:
    if hasattr(model, "calibrated_classifiers_"):
        counts = [_count_macs(calibrated.estimator) for calibrated in model.calibrated_classifiers_]
        return None if None in counts else float(sum(count or 0.0 for count in counts))
    weights = getattr(model, "coefs_", None)
    if weights is not None:
        return float(sum(weight.size for weight in weights))
    if hasattr(model, "support_vectors_") and getattr(model, "kernel", "linear") != "linear":
        return float(model.support_vectors_.size + model.dual_coef_.size)
    coefficients = getattr(model, "coef_", None)
    return None if coefficients is None else float(coefficients.size)


def _count_learned(value: Any) -> int:
    if (isinstance(value, np.ndarray) and value.dtype == object) or isinstance(value, list | tuple):
        return sum(_count_learned(item) for item in value)
    if isinstance(value, np.ndarray) or scipy.sparse.issparse(value):
        return int(value.size) if value.dtype.kind == "f" else 0
    if hasattr(value, "node_count"):
        return int(value.node_count)
    if hasattr(value, "calibrators"):
        return _count_learned(value.estimator)
    if isinstance(value, Pipeline):
        return sum(_count_learned(step) for _, step in value.steps)
    if isinstance(value, BaseEstimator):
        learned = (item for key, item in vars(value).items() if key.endswith("_") and not key.startswith("_"))
        return sum(_count_learned(item) for item in learned)
    return 0
