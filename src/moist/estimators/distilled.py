"""The distilled mixture of specialists as a scikit-learn classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state, get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from typing_extensions import Self

from moist.data import IndexedDataset, TransformSettings, fit_transform
from moist.estimators.distilling import Lesson, distil
from moist.estimators.fast_mixture import FastMixture
from moist.estimators.labels import ProbabilityClassifier
from moist.estimators.parameters import check_integer, check_number
from moist.estimators.soft_targets import (
    default_teacher,
    draw_crossing,
    fitted_teacher,
    soft_targets,
    spread_probs,
)
from moist.estimators.table_reader import fit_reader
from moist.evaluation import routing_report
from moist.mixture import MixtureSettings, RouterSettings, mixture_cost, save_bundle
from moist.progress import say
from moist.students import StudentSettings
from moist.tasks import JointSettings
from moist.training import TrainingSettings
from moist.types import UserError

__all__ = ["DistilledMixtureClassifier"]

LARGEST_SEED = 2**31 - 1


class DistilledMixtureClassifier(ProbabilityClassifier, BaseEstimator):  # type: ignore[misc]
    """A router over small specialists, distilled from any classifier.

    The teacher, such as a boosting or a large ensemble, answers slowly; the mixture learns to say the same at the cost
    of one small perceptron per row, the one that the router picks. It learns the teacher's probabilities on the
    training rows, mixed with their labels, and on new rows crossed from them, on which the teacher shows what it has
    learned.

    Parameters
    ----------
    teacher : classifier, default=None
        Any classifier with ``predict_proba``, a pipeline too. A fitted one is used as it is, whatever rows it was
        fitted on; an unfitted one is cloned and fitted on the training rows. It reads ``X`` as it is given. None stands
        for :class:`~sklearn.ensemble.HistGradientBoostingClassifier`. ``clone``, and so ``GridSearchCV``, takes the fit
        from a fitted teacher; wrapped in :class:`~sklearn.frozen.FrozenEstimator` it keeps it.
    num_specialists : int, default=8
        Number of specialists; a row runs one of them.
    method : {'joint', 'class-domains', 'embedding-domains', 'random'}, default='joint'
        Train router and specialists together on the mixture likelihood, or cut the rows into domains first: by the
        classes that the teacher confuses, by clusters of its log-probabilities, or by chance.
    width : int, default=128
        Hidden units of a specialist.
    depth : int, default=1
        Hidden layers of a specialist.
    balance : float, default=0.1
        Weight of the load-balancing loss, against specialists that no row is sent to ('joint' only).
    outside : float, default=0.3
        Share of a specialist's rows drawn from outside its domain (all methods but 'joint').
    label_weight : float, default=0.5
        Share of the labels in the targets of the training rows; the teacher has the rest.
    num_synthetic : float, default=9.0
        New rows per training row that the teacher labels.
    num_steps : int, default=3000
        Batches to train on in all, whatever the number of rows.
    batch_size : int, default=512
        Rows of a batch.
    learning_rate : float, default=0.02
        Peak of the learning rate.
    random_state : int, RandomState instance or None, default=None
        Of the new rows, the weights and the order of the batches.
    verbose : int, default=0
        Tell of every stage.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels: the teacher's.
    teacher_ : classifier
        The fitted teacher.
    mixture_ : MixtureOfSpecialists
        The mixture itself, as ``moist distill`` makes it; class names are strings there.
    cost_ : float
        Multiply-accumulates per row: the router, and one specialist.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features, where ``X`` had names.

    References
    ----------
    Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531.
    Bucilă, Caruana and Niculescu-Mizil 2006, "Model Compression", KDD.

    Examples
    --------
    >>> from moist.estimators import DistilledMixtureClassifier
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> forest = RandomForestClassifier(random_state=0)
    >>> mixture = DistilledMixtureClassifier(forest, num_specialists=2, num_steps=400, random_state=0).fit(X, y)
    >>> bool(mixture.score(X, y) > 0.95)
    True
    >>> mixture.route(X[:3]).shape
    (3,)
    >>> mixture.cost_
    2074.0
    """

    def __init__(
        self,
        teacher: Any = None,
        num_specialists: int = 8,
        method: str = "joint",
        *,
        width: int = 128,
        depth: int = 1,
        balance: float = 0.1,
        outside: float = 0.3,
        label_weight: float = 0.5,
        num_synthetic: float = 9.0,
        num_steps: int = 3000,
        batch_size: int = 512,
        learning_rate: float = 0.02,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.teacher = teacher
        self.num_specialists = num_specialists
        self.method = method
        self.width = width
        self.depth = depth
        self.balance = balance
        self.outside = outside
        self.label_weight = label_weight
        self.num_synthetic = num_synthetic
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._allows_nan()
        return tags

    def _allows_nan(self) -> bool:
        return self.teacher is None or bool(get_tags(self.teacher).input_tags.allow_nan)

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the teacher where it is not fitted yet, and distil it.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Training rows; columns of a data frame of pandas may hold categories.
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        self : object
            The fitted mixture.
        """
        student, settings = self._settings()
        self._reader, rows, labels = fit_reader(self, X, y, allow_nan=self._allows_nan())
        check_classification_targets(labels)
        if len(np.unique(labels)) < 2:
            raise UserError("a classifier needs rows of at least two classes, got rows of one class; add others")
        random = check_random_state(self.random_state)
        seed = int(random.randint(LARGEST_SEED))
        source = rows if self.teacher is None else X
        self._tell("fitting the teacher")
        teacher = default_teacher(seed) if self.teacher is None else self.teacher
        self.teacher_ = fitted_teacher(teacher, source, labels)
        self.classes_ = np.sort(self.teacher_.classes_)
        crossing = draw_crossing(rows, round(self.num_synthetic * len(rows)), random)
        probs = [spread_probs(self.teacher_, source, self.classes_)]
        if len(crossing.base_M):
            self._tell(f"asking the teacher about {len(crossing.base_M)} new rows")
            probs.append(spread_probs(self.teacher_, crossing.of(source), self.classes_))
        log_target = soft_targets(np.concatenate(probs), np.searchsorted(self.classes_, labels), self.label_weight)
        lesson = self._lesson(rows, crossing.of(rows), log_target, student, settings, seed)
        self.mixture_, self._transform = distil(lesson), lesson.transform
        self._student, self._mixture_settings, self._example = student, settings, lesson.example(512)
        self._fast = FastMixture.of(self.mixture_)
        self._load = np.bincount(self._route(rows), minlength=settings.num_domains) / len(rows)
        self._costs = mixture_cost(self.mixture_, self._example, self._load.tolist())
        self.cost_ = float(self._costs[0].macs)
        return self

    def _lesson(
        self,
        rows: np.ndarray,
        crossed: np.ndarray,
        log_target: np.ndarray,
        student: StudentSettings,
        settings: MixtureSettings,
        seed: int,
    ) -> Lesson:
        names = tuple(str(name) for name in self.classes_)
        schema, likely = self._reader.schema, log_target.argmax(axis=1)
        # Statistics of the inputs are those of real rows.
        real = IndexedDataset("table", "train", "tabular", rows, likely[: len(rows)], names, schema, "real")
        every = IndexedDataset(
            "table", "train", "tabular", np.concatenate([rows, crossed]), likely, names, schema, "every"
        )
        return Lesson(
            dataset=every,
            transform=fit_transform(real, TransformSettings()),
            log_target_NC=log_target,
            student=student,
            mixture=settings,
            joint=JointSettings(balance=self.balance),
            training=TrainingSettings(batch_size=self.batch_size, learning_rate=self.learning_rate),
            num_steps=self.num_steps,
            seed=seed,
            tell=self._tell,
        )

    def _settings(self) -> tuple[StudentSettings, MixtureSettings]:
        """Check the parameters and return what specialists and mixture look like."""
        for name, least in (("num_specialists", 2), ("width", 1), ("depth", 0), ("num_steps", 1), ("batch_size", 1)):
            check_integer(name, getattr(self, name), least)
        for name in ("balance", "num_synthetic"):
            check_number(name, getattr(self, name), 0)
        check_number("learning_rate", self.learning_rate, 0, above=True)
        for name in ("label_weight", "outside"):
            check_number(name, getattr(self, name), 0)
            if getattr(self, name) > 1:
                raise UserError(f"{name} must be a share, at most 1, got {getattr(self, name)!r}; lower it")
        try:
            settings = MixtureSettings(
                method=self.method,
                num_domains=int(self.num_specialists),
                router=RouterSettings(kind="linear"),
                outside=float(self.outside),
            )
        except ValidationError as error:
            raise UserError(
                f"method must be one of joint, class-domains, embedding-domains and random, got {self.method!r}; "
                "change it"
            ) from error
        return StudentSettings(family="mlp", width=int(self.width), depth=int(self.depth)), settings

    def _tell(self, message: str) -> None:
        if self.verbose:
            say(message)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities: those of the specialist that the router picks.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), float32
            In the order of ``classes_``.
        """
        check_is_fitted(self)
        rows = self._reader.read(self, X)
        if self._fast is None:
            return self.mixture_.predict_proba(rows)
        return self._fast.predict_proba(self._transform.encode(rows))

    def route(self, X: Any) -> np.ndarray:
        """Return which specialist serves each row.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        specialists : ndarray of shape (n_samples,)
            Numbers from 0 to ``num_specialists - 1``.
        """
        check_is_fitted(self)
        return self._route(self._reader.read(self, X))

    def _route(self, rows: np.ndarray) -> np.ndarray:
        if self._fast is not None:
            return self._fast.route(self._transform.encode(rows))
        chosen: np.ndarray = self.mixture_.predict_all(rows).routing.expert_indices[:, 0].numpy()
        return chosen

    def report(self, X: Any, y: Any) -> dict[str, Any]:
        """Compare mixture and teacher on rows, best on rows that neither was fitted on.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their labels.

        Returns
        -------
        report : dict
            ``accuracy``, ``teacher_accuracy``, ``agreement`` (share of the rows that both give the same class),
            ``cost`` (multiply-accumulates per row), ``active_params``, ``total_params``, ``bytes``, ``load`` (share of
            the rows that each specialist serves), ``dead`` (specialists that hardly any row is sent to) and
            ``specialist_accuracy`` (of each on its own rows, None where it has none).
        """
        said, labels = self.predict(X), np.asarray(y)
        chosen, right = self.route(X), said == labels
        source = self._reader.read(self, X) if self.teacher is None else X
        taught = self.teacher_.predict(source)
        routing = routing_report(chosen, self._mixture_settings.num_domains)
        active, total = self._costs
        return {
            "accuracy": float(right.mean()),
            "teacher_accuracy": float((taught == labels).mean()),
            "agreement": float((taught == said).mean()),
            "cost": self.cost_,
            "active_params": active.params,
            "total_params": total.params,
            "bytes": total.bytes,
            "load": routing["load"],
            "dead": routing["dead"],
            "specialist_accuracy": [
                float(right[chosen == k].mean()) if (chosen == k).any() else None for k in range(self.num_specialists)
            ],
        }

    def save(self, path: str | Path) -> None:
        """Save the mixture as a bundle, which ``moist.load_bundle`` and the command line open; the teacher stays here.

        Parameters
        ----------
        path : str or Path
            Folder to write.
        """
        check_is_fitted(self)
        save_bundle(
            self.mixture_,
            path,
            student=self._student,
            settings=self._mixture_settings,
            measured={},
            example=self._example,
        )
