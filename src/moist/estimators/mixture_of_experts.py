"""The classic mixture of experts: one softmax gate, linear experts or any others, fitted by EM."""

from __future__ import annotations

from typing import Any

from moist.estimators.classifier_mixture import ClassifierMixture
from moist.estimators.parameters import check_integer
from moist.estimators.regressor_mixture import RegressorMixture

__all__ = ["MixtureOfExpertsClassifier", "MixtureOfExpertsRegressor"]


class MixtureOfExpertsClassifier(ClassifierMixture):
    """A softmax gate over logistic experts, fitted by the EM algorithm.

    The probability of a class is ``sum_k g_k(x) p_k(y | x)``. The E step computes each expert's responsibility for each
    row; the M step takes one step of iteratively reweighted least squares (IRLS) for the gate, towards the
    responsibilities, and one for each expert, with the rows weighted by its responsibilities. A step that would not
    raise its part of the penalised log-likelihood is shortened, so the log-likelihood never falls.

    Parameters
    ----------
    num_experts : int, default=4
        Number of experts.
    estimator : classifier, default=None
        An expert of another kind, to be cloned: any classifier whose ``fit`` takes ``sample_weight``, such as a tree or
        a boosting. None stands for logistic experts. With an estimator, EM becomes generalised EM: a refitted expert
        takes the place of the old one only where it explains its weighted rows no worse, so the log-likelihood still
        never falls, but need not reach a maximum. ``algorithm_`` says which it was.
    alpha : float, default=1.0
        Ridge of the logistic experts, on standardised inputs: ``alpha / 2`` times the squared coefficients.
    gate_alpha : float, default=1.0
        The same for the gate.
    init : {'kmeans', 'random'}, default='kmeans'
        Where EM begins: a clustering of the inputs, or the nearest of random points.
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
    gate_coef_ : ndarray of shape (n_experts, n_features)
        Coefficients of the gate, in the inputs' own units.
    gate_intercept_ : ndarray of shape (n_experts,)
        Its intercepts.
    experts_ : list
        The fitted estimators, trained on class numbers; empty for logistic experts.
    algorithm_ : str
        ``'EM'``, or ``'generalized EM'`` with an estimator.
    lower_bound_ : float
        Penalised log-likelihood of the training rows, per unit of weight.
    lower_bounds_ : ndarray of shape (n_iter_,)
        The same after every iteration.
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
    Jacobs, Jordan, Nowlan and Hinton 1991, "Adaptive Mixtures of Local Experts", Neural Computation 3.
    Jordan and Jacobs 1994, "Hierarchical Mixtures of Experts and the EM Algorithm", Neural Computation 6.

    Examples
    --------
    >>> from moist.estimators import MixtureOfExpertsClassifier
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(400, noise=0.1, random_state=0)
    >>> mixture = MixtureOfExpertsClassifier(num_experts=4, random_state=0).fit(X, y)
    >>> bool(mixture.score(X, y) > 0.97)
    True
    >>> mixture.gate_proba(X[:2]).shape
    (2, 4)
    """

    def __init__(
        self,
        num_experts: int = 4,
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
        self.num_experts = num_experts
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

    def _tree(self) -> tuple[int, int]:
        check_integer("num_experts", self.num_experts, 1)
        return 1, int(self.num_experts)

    def _publish(self) -> None:
        super()._publish()
        self.gate_coef_, self.gate_intercept_ = self._scaling.original(self._gate.coef_PDB[0].T)


class MixtureOfExpertsRegressor(RegressorMixture):
    """A softmax gate over linear experts with Gaussian noise, fitted by the EM algorithm.

    The density of the target is ``sum_k g_k(x) N(y; w_k x + b_k, variance_k)``. The M step solves a weighted ridge
    regression for each expert, and takes one step of iteratively reweighted least squares for the gate. The penalised
    log-likelihood never falls.

    Parameters
    ----------
    num_experts : int, default=4
        Number of experts.
    estimator : regressor, default=None
        An expert of another kind, to be cloned: any regressor whose ``fit`` takes ``sample_weight``. None stands for
        linear experts. With an estimator, EM becomes generalised EM: a refitted expert takes the place of the old one
        only where its weighted squared error is no larger. ``algorithm_`` says which it was.
    alpha : float, default=1.0
        Ridge of the linear experts, on standardised inputs, in units of each expert's own variance.
    gate_alpha : float, default=1.0
        Ridge of the gate, on standardised inputs.
    min_variance : float, default=1e-6
        Smallest variance of an expert, as a share of the target's.
    init : {'kmeans', 'random'}, default='kmeans'
        Where EM begins: a clustering of the inputs, or the nearest of random points.
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
    gate_coef_ : ndarray of shape (n_experts, n_features)
        Coefficients of the gate, in the inputs' own units.
    gate_intercept_ : ndarray of shape (n_experts,)
        Its intercepts.
    experts_ : list
        The fitted estimators, trained on the standardised target; empty for linear experts.
    algorithm_ : str
        ``'EM'``, or ``'generalized EM'`` with an estimator.
    lower_bound_ : float
        Penalised log-likelihood of the standardised training targets, per unit of weight.
    lower_bounds_ : ndarray of shape (n_iter_,)
        The same after every iteration.
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
    Jacobs, Jordan, Nowlan and Hinton 1991, "Adaptive Mixtures of Local Experts", Neural Computation 3.
    Jordan and Jacobs 1994, "Hierarchical Mixtures of Experts and the EM Algorithm", Neural Computation 6.

    Examples
    --------
    >>> import numpy as np
    >>> from moist.estimators import MixtureOfExpertsRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> y = np.abs(X[:, 0])
    >>> mixture = MixtureOfExpertsRegressor(num_experts=2, alpha=0, random_state=0).fit(X, y)
    >>> sorted(np.round(mixture.coef_[:, 0]).tolist())
    [-1.0, 1.0]
    """

    def __init__(
        self,
        num_experts: int = 4,
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
        self.num_experts = num_experts
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

    def _tree(self) -> tuple[int, int]:
        check_integer("num_experts", self.num_experts, 1)
        return 1, int(self.num_experts)

    def _publish(self) -> None:
        super()._publish()
        self.gate_coef_, self.gate_intercept_ = self._scaling.original(self._gate.coef_PDB[0].T)
