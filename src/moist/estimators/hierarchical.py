"""Hierarchical mixtures of experts: a tree of gates over linear experts or any others, fitted by EM."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from moist.estimators.base import BaseMixture
from moist.estimators.classifier_mixture import ClassifierMixture
from moist.estimators.parameters import check_integer
from moist.estimators.regressor_mixture import RegressorMixture
from moist.estimators.sample import Sample
from moist.estimators.tree_view import TreeView, draw_tree, tree_text
from moist.types import UserError

__all__ = ["HierarchicalMixtureOfExpertsClassifier", "HierarchicalMixtureOfExpertsRegressor"]


class _Tree(BaseMixture):
    """What both hierarchical mixtures share: the shape of the tree, and its views."""

    depth: int
    branching: int

    def _tree(self) -> tuple[int, int]:
        check_integer("depth", self.depth, 1)
        check_integer("branching", self.branching, 2)
        return int(self.depth), int(self.branching)

    def _fit_em(self, rows_ND: np.ndarray, target_N: np.ndarray, weight_N: np.ndarray) -> tuple[Sample, np.ndarray]:
        sample, weighted_NK = super()._fit_em(rows_ND, target_N, weight_N)
        coef_PBD = self._gate.coef_PDB.transpose(0, 2, 1)
        self.gate_coef_, self.gate_intercept_ = self._scaling.original(coef_PBD)
        self.shares_ = weighted_NK.sum(axis=0) / weighted_NK.sum()
        self._values = self._leaf_values(sample, weighted_NK)
        return sample, weighted_NK

    @abstractmethod
    def _leaf_values(self, sample: Sample, weighted_NK: np.ndarray) -> np.ndarray:
        """Return what the rows of each expert have for targets."""

    @abstractmethod
    def _leaves(self, names: Sequence[str] | None, decimals: int) -> list[str]: ...

    def _view(
        self, feature_names: Sequence[str] | None, class_names: Sequence[str] | None, num_features: int, decimals: int
    ) -> TreeView:
        check_is_fitted(self)
        known = getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)])
        names = list(known if feature_names is None else feature_names)
        if len(names) != self.n_features_in_:
            raise UserError(f"feature_names must name {self.n_features_in_} features, got {len(names)}; name them all")
        leaves = self._leaves(class_names, decimals)
        return TreeView(self._gate, self.shares_, leaves, names, num_features, decimals)

    def export_text(
        self,
        *,
        feature_names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        num_features: int = 2,
        decimals: int = 2,
    ) -> str:
        """Return the tree of gates as text.

        A gate's line for a child names the inputs that speak most for or against it, with their coefficients on
        standardised inputs.

        Parameters
        ----------
        feature_names : sequence of str, default=None
            Names of the inputs; those of training where they had names.
        class_names : sequence of str, default=None
            Names of the classes (classifier only); ``classes_`` by default.
        num_features : int, default=2
            Inputs to name for each child.
        decimals : int, default=2
            Digits of the coefficients.

        Returns
        -------
        text : str
            A line per child of a gate.
        """
        return tree_text(self._view(feature_names, class_names, num_features, decimals))

    def plot(
        self,
        *,
        feature_names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        decimals: int = 2,
        fontsize: float | None = None,
        ax: Any = None,
    ) -> list[Any]:
        """Plot the tree of gates, like scikit-learn's ``plot_tree``.

        Parameters
        ----------
        feature_names : sequence of str, default=None
            Names of the inputs; those of training where they had names.
        class_names : sequence of str, default=None
            Names of the classes (classifier only); ``classes_`` by default.
        decimals : int, default=2
            Digits of the coefficients.
        fontsize : float, default=None
            Size of the text; matplotlib's own by default.
        ax : matplotlib axis, default=None
            Where to draw; the current axis by default. What it held is cleared.

        Returns
        -------
        annotations : list of artists
            One per gate and expert.
        """
        return draw_tree(self._view(feature_names, class_names, 1, decimals), ax, fontsize)


class HierarchicalMixtureOfExpertsClassifier(_Tree, ClassifierMixture):
    """A tree of softmax gates with a logistic expert at each leaf, fitted by the EM algorithm.

    Each gate shares its rows out among its children, softly; the probability of an expert is the product of the gates'
    along its path. The M step takes one step of iteratively reweighted least squares for every gate, towards the
    responsibilities of the experts below each child, and one for every expert.

    Parameters
    ----------
    depth : int, default=2
        Levels of gates.
    branching : int, default=2
        Children of each gate; there are ``branching ** depth`` experts.
    estimator : classifier, default=None
        An expert of another kind that takes ``sample_weight``; see :class:`MixtureOfExpertsClassifier`.
    alpha : float, default=1.0
        Ridge of the logistic experts, on standardised inputs.
    gate_alpha : float, default=1.0
        Ridge of the gates, on standardised inputs.
    init : {'kmeans', 'random'}, default='kmeans'
        Where EM begins: clusters within clusters of the inputs, or the nearest of random points at each gate.
    n_init : int, default=1
        Number of starts; the one with the highest log-likelihood is kept.
    max_iter : int, default=100
        Most iterations of EM.
    tol : float, default=1e-4
        EM ends when an iteration raises the penalised log-likelihood per row by less.
    n_jobs : int, default=None
        Threads that share the steps of gates and experts; the result is the same. None stands for 1, -1 for all cores.
    random_state : int, RandomState instance or None, default=None
        Of the starts.
    verbose : int, default=0
        Tell of every iteration.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    coef_ : ndarray of shape (n_experts, n_classes, n_features)
        Coefficients of the logistic experts, in the inputs' own units. Not there with an estimator.
    intercept_ : ndarray of shape (n_experts, n_classes)
        Their intercepts. Not there with an estimator.
    gate_coef_ : ndarray of shape (n_gates, branching, n_features)
        Coefficients of the gates in level order, in the inputs' own units.
    gate_intercept_ : ndarray of shape (n_gates, branching)
        Their intercepts.
    shares_ : ndarray of shape (n_experts,)
        Share of the training rows that each expert answers for.
    experts_ : list
        The fitted estimators; empty for logistic experts.
    algorithm_ : str
        ``'EM'``, or ``'generalized EM'`` with an estimator.
    lower_bound_ : float
        Penalised log-likelihood of the training rows, per unit of weight.
    lower_bounds_ : ndarray of shape (n_iter_,)
        The same after every iteration; it never falls.
    n_iter_ : int
        Iterations of the best start.
    converged_ : bool
        Whether ``tol`` ended them.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features, where ``X`` had names.

    References
    ----------
    Jordan and Jacobs 1994, "Hierarchical Mixtures of Experts and the EM Algorithm", Neural Computation 6.

    Examples
    --------
    >>> from moist.estimators import HierarchicalMixtureOfExpertsClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> tree = HierarchicalMixtureOfExpertsClassifier(depth=1, random_state=0).fit(X, y)
    >>> bool(tree.score(X, y) > 0.95)
    True
    >>> print(tree.export_text(num_features=1).splitlines()[0])
    gate
    """

    def __init__(
        self,
        depth: int = 2,
        branching: int = 2,
        *,
        estimator: Any = None,
        alpha: float = 1.0,
        gate_alpha: float = 1.0,
        init: str = "kmeans",
        n_init: int = 1,
        max_iter: int = 100,
        tol: float = 1e-4,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.depth = depth
        self.branching = branching
        self.estimator = estimator
        self.alpha = alpha
        self.gate_alpha = gate_alpha
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _leaf_values(self, sample: Sample, weighted_NK: np.ndarray) -> np.ndarray:
        counts_KC = weighted_NK.T @ np.eye(len(self.classes_))[sample.target_N]
        result: np.ndarray = counts_KC / np.maximum(counts_KC.sum(axis=1, keepdims=True), 1e-300)
        return result

    def _leaves(self, names: Sequence[str] | None, decimals: int) -> list[str]:
        classes = list(self.classes_ if names is None else names)
        best_K = self._values.argmax(axis=1)
        return [f"mostly {classes[best]} ({self._values[k, best]:.{decimals}f})" for k, best in enumerate(best_K)]


class HierarchicalMixtureOfExpertsRegressor(_Tree, RegressorMixture):
    """A tree of softmax gates with a linear expert with Gaussian noise at each leaf, fitted by the EM algorithm.

    Each gate shares its rows out among its children, softly. The M step solves a weighted ridge regression for every
    expert, and takes one step of iteratively reweighted least squares for every gate.

    Parameters
    ----------
    depth : int, default=2
        Levels of gates.
    branching : int, default=2
        Children of each gate; there are ``branching ** depth`` experts.
    estimator : regressor, default=None
        An expert of another kind that takes ``sample_weight``; see :class:`MixtureOfExpertsRegressor`.
    alpha : float, default=1.0
        Ridge of the linear experts, on standardised inputs, in units of each expert's own variance.
    gate_alpha : float, default=1.0
        Ridge of the gates, on standardised inputs.
    min_variance : float, default=1e-6
        Smallest variance of an expert, as a share of the target's.
    init : {'kmeans', 'random'}, default='kmeans'
        Where EM begins: clusters within clusters of the inputs, or the nearest of random points at each gate.
    n_init : int, default=1
        Number of starts; the one with the highest log-likelihood is kept.
    max_iter : int, default=100
        Most iterations of EM.
    tol : float, default=1e-4
        EM ends when an iteration raises the penalised log-likelihood per row by less.
    n_jobs : int, default=None
        Threads that share the steps of gates and experts; the result is the same. None stands for 1, -1 for all cores.
    random_state : int, RandomState instance or None, default=None
        Of the starts.
    verbose : int, default=0
        Tell of every iteration.

    Attributes
    ----------
    coef_ : ndarray of shape (n_experts, n_features)
        Coefficients of the linear experts, in the inputs' own units. Not there with an estimator.
    intercept_ : ndarray of shape (n_experts,)
        Their intercepts. Not there with an estimator.
    variances_ : ndarray of shape (n_experts,)
        Variance of each expert.
    gate_coef_ : ndarray of shape (n_gates, branching, n_features)
        Coefficients of the gates in level order, in the inputs' own units.
    gate_intercept_ : ndarray of shape (n_gates, branching)
        Their intercepts.
    shares_ : ndarray of shape (n_experts,)
        Share of the training rows that each expert answers for.
    experts_ : list
        The fitted estimators; empty for linear experts.
    algorithm_ : str
        ``'EM'``, or ``'generalized EM'`` with an estimator.
    lower_bound_ : float
        Penalised log-likelihood of the standardised training targets, per unit of weight.
    lower_bounds_ : ndarray of shape (n_iter_,)
        The same after every iteration; it never falls.
    n_iter_ : int
        Iterations of the best start.
    converged_ : bool
        Whether ``tol`` ended them.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features, where ``X`` had names.

    References
    ----------
    Jordan and Jacobs 1994, "Hierarchical Mixtures of Experts and the EM Algorithm", Neural Computation 6.

    Examples
    --------
    >>> from moist.estimators import HierarchicalMixtureOfExpertsRegressor
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> tree = HierarchicalMixtureOfExpertsRegressor(depth=2, random_state=0).fit(X, y)
    >>> tree.predict(X[:3]).shape
    (3,)
    >>> tree.gate_coef_.shape
    (3, 2, 10)
    """

    def __init__(
        self,
        depth: int = 2,
        branching: int = 2,
        *,
        estimator: Any = None,
        alpha: float = 1.0,
        gate_alpha: float = 1.0,
        min_variance: float = 1e-6,
        init: str = "kmeans",
        n_init: int = 1,
        max_iter: int = 100,
        tol: float = 1e-4,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.depth = depth
        self.branching = branching
        self.estimator = estimator
        self.alpha = alpha
        self.gate_alpha = gate_alpha
        self.min_variance = min_variance
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _leaf_values(self, sample: Sample, weighted_NK: np.ndarray) -> np.ndarray:
        means_K = weighted_NK.T @ sample.target_N / np.maximum(weighted_NK.sum(axis=0), 1e-300)
        result: np.ndarray = means_K * self._target_scale + self._target_mean
        return result

    def _leaves(self, names: Sequence[str] | None, decimals: int) -> list[str]:
        del names
        return [f"mean {value:.{decimals}f}" for value in self._values]
