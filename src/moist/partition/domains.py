"""Ways to cut the data into K disjoint domains."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import log_softmax
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from moist.partition.class_groups import limit_domains, symmetric_confusions
from moist.types import Partition, UserError

__all__ = [
    "ConfusionPartitioner",
    "EmbeddingPartitioner",
    "RandomPartitioner",
    "confusion_matrix",
    "domain_rows",
    "responsibilities",
]


def confusion_matrix(probs_NC: np.ndarray, target_N: np.ndarray | None = None) -> np.ndarray:
    """Return (C, C): row c is the mean prediction over the examples of class c, each row summing to 1.

    Without labels the teacher's own most probable class stands for the label.
    """
    num_classes = probs_NC.shape[1]
    target = probs_NC.argmax(axis=1) if target_N is None else target_N
    sums = np.zeros((num_classes, num_classes))
    np.add.at(sums, target, probs_NC)
    totals = sums.sum(axis=1, keepdims=True)
    return np.where(totals > 0, sums / np.maximum(totals, 1e-12), np.eye(num_classes))


class ConfusionPartitioner:
    """Put classes that the teacher confuses into one domain, by spectral clustering of the confusions.

    Args:
        num_domains: K, at most the number of classes that have an example.
        seed: seed of the clustering.
        most_classes: most classes of a domain, at least C / K; None for any number.

    Every domain gets at least one class that has examples; a class without any joins the domain that it is most
    confused with. Ahmed, Baig and Torresani 2016, "Network of Experts" (arXiv 1604.06119), section 3.
    """

    def __init__(self, num_domains: int, seed: int = 0, most_classes: int | None = None) -> None:
        self.num_domains = num_domains
        self.seed = seed
        self.most_classes = most_classes

    def partition(self, probs_NC: np.ndarray, target_N: np.ndarray | None = None) -> Partition:
        """Return class domains from teacher probabilities (N, C), softened if they are nearly one-hot.

        Raises:
            UserError: more domains than classes with examples.
        """
        target = probs_NC.argmax(axis=1) if target_N is None else target_N
        present = np.unique(target)
        if self.num_domains > len(present):
            raise UserError(
                "class domains need num_domains at most the number of classes that have examples, got "
                f"num_domains={self.num_domains} for {len(present)} classes; lower mixture.num_domains or use "
                "mixture.method=joint"
            )
        confusions = confusion_matrix(probs_NC, target)
        affinity = (confusions + confusions.T) / 2 + 1e-6
        np.fill_diagonal(affinity, 1.0)
        classes = np.empty(len(affinity), dtype=np.int64)
        classes[present] = self._cluster(affinity[np.ix_(present, present)])
        absent = np.setdiff1d(np.arange(len(affinity)), present)
        classes[absent] = classes[present[affinity[np.ix_(absent, present)].argmax(axis=1)]]
        if self.most_classes is not None:
            classes = limit_domains(classes, self.num_domains, symmetric_confusions(confusions), self.most_classes)
        return Partition(self.num_domains, classes[target], classes)

    def _cluster(self, affinity: np.ndarray) -> np.ndarray:
        num_classes = len(affinity)
        if self.num_domains == num_classes:
            return np.arange(num_classes)
        if self.num_domains == 1:
            return np.zeros(num_classes, dtype=np.int64)
        with threadpool_limits(1):
            clusters = SpectralClustering(
                self.num_domains, affinity="precomputed", assign_labels="cluster_qr", random_state=self.seed
            ).fit_predict(affinity)
        return _fill_empty(clusters.astype(np.int64), self.num_domains)


def _fill_empty(clusters: np.ndarray, num_domains: int) -> np.ndarray:
    """Give each empty domain one member of the largest one, so that no specialist is born without work."""
    clusters = clusters.copy()
    for domain in range(num_domains):
        if not (clusters == domain).any():
            largest = np.bincount(clusters, minlength=num_domains).argmax()
            clusters[np.flatnonzero(clusters == largest)[-1]] = domain
    return clusters


def _check_examples(num_domains: int, num_examples: int) -> None:
    if num_domains > num_examples:
        raise UserError(
            f"num_domains must be at most the number of training examples, got num_domains={num_domains} for "
            f"{num_examples} examples; lower mixture.num_domains"
        )


class EmbeddingPartitioner:
    """Cut examples into domains by k-means on the teacher's embeddings (its logits where it has none).

    Args:
        num_domains: K, at most the number of examples.
        seed: seed of the clustering.
    """

    def __init__(self, num_domains: int, seed: int = 0) -> None:
        self.num_domains = num_domains
        self.seed = seed

    def partition(self, embedding_ND: np.ndarray) -> Partition:
        """Return example domains from embeddings (N, D).

        Raises:
            UserError: more domains than examples.
        """
        _check_examples(self.num_domains, len(embedding_ND))
        scale = embedding_ND.std() or 1.0
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different examples than domains: filled below
            kmeans = KMeans(self.num_domains, n_init=4, random_state=self.seed).fit(embedding_ND / scale)
        return Partition(self.num_domains, _fill_empty(kmeans.labels_.astype(np.int64), self.num_domains))


class RandomPartitioner:
    """Cut examples into domains of equal size at random: the control that any other partition must beat.

    Args:
        num_domains: K, at most the number of examples.
        seed: seed of the assignment.
    """

    def __init__(self, num_domains: int, seed: int = 0) -> None:
        self.num_domains = num_domains
        self.seed = seed

    def partition(self, num_examples: int) -> Partition:
        """Return example domains for ``num_examples`` rows.

        Raises:
            UserError: more domains than examples.
        """
        _check_examples(self.num_domains, num_examples)
        assignment = np.arange(num_examples) % self.num_domains
        return Partition(self.num_domains, np.random.default_rng(self.seed).permutation(assignment))


def domain_rows(partition: Partition, domain: int, outside: float, seed: int) -> np.ndarray:
    """Return the rows that a specialist learns from, ascending: its own domain's, and some drawn from the others.

    Args:
        partition: the domains.
        domain: which one.
        outside: share of the result that is drawn from outside the domain, as far as there are so many rows.
        seed: of the draw.
    """
    own = np.flatnonzero(partition.assignment == domain)
    if outside == 0:
        return own
    others = np.flatnonzero(partition.assignment != domain)
    wanted = min(len(others), round(len(own) * outside / max(1 - outside, 1e-9)))
    return np.sort(np.concatenate([own, np.random.default_rng(seed).choice(others, wanted, replace=False)]))


def responsibilities(loss_NK: np.ndarray, log_prior_NK: np.ndarray) -> np.ndarray:
    """Return h_nk ∝ g_nk exp(-loss_nk) as (N, K), rows summing to 1: the E step.

    Args:
        loss_NK: (N, K) negative log-likelihood of each member on each example, in nats.
        log_prior_NK: (N, K) log gate probabilities.

    Jordan and Jacobs 1994, "Hierarchical Mixtures of Experts and the EM Algorithm", equation 9.
    """
    result: np.ndarray = np.exp(log_softmax(log_prior_NK - loss_NK, axis=1))
    return result
