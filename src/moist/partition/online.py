"""Online k-means, and overlapping sets of classes that a model confuses, found without labels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from sklearn.cluster import kmeans_plusplus

from moist.errors import UserError

__all__ = ["OnlineKMeans", "OverlappingClassSets", "StreamedCovariance"]


class OnlineKMeans:
    """K-means that sees its points in batches: each centre is the mean of all points that were ever assigned to it.

    Args:
        centres_KD: (K, D) where the centres start.

    Attributes:
        centres_: (K, D) float64.
        counts_: (K,) points assigned to each centre so far.

    Sculley 2010, "Web-Scale K-Means Clustering", algorithm 1.
    """

    def __init__(self, centres_KD: np.ndarray) -> None:
        self.centres_ = np.array(centres_KD, dtype=np.float64)
        self.counts_ = np.zeros(len(self.centres_), dtype=np.int64)

    def partial_fit(self, points_ND: np.ndarray) -> OnlineKMeans:
        """Assign a batch of points (N, D) to the centres as they are, then move each centre towards its points."""
        labels = self.predict(points_ND)
        for k in np.unique(labels):
            own = points_ND[labels == k]
            self.counts_[k] += len(own)
            self.centres_[k] += (own - self.centres_[k]).sum(axis=0) / self.counts_[k]
        return self

    def predict(self, points_ND: np.ndarray) -> np.ndarray:
        """Return the nearest centre (N,) of each point (N, D)."""
        return np.asarray(self.distances(points_ND).argmin(axis=1))

    def distances(self, points_ND: np.ndarray) -> np.ndarray:
        """Return the squared distance (N, K) of each point (N, D) to each centre."""
        points = np.asarray(points_ND, dtype=np.float64)
        return np.asarray(((points[:, None] - self.centres_[None]) ** 2).sum(axis=2))


class StreamedCovariance:
    """The covariance of rows that come in batches, by Chan, Golub and LeVeque's (1979) update of mean and products.

    Args:
        num_columns: C.

    Attributes:
        count_: rows seen.
        mean_: (C,).
    """

    def __init__(self, num_columns: int) -> None:
        self.count_ = 0
        self.mean_ = np.zeros(num_columns)
        self._products_CC = np.zeros((num_columns, num_columns))

    def partial_fit(self, rows_NC: np.ndarray) -> StreamedCovariance:
        """Take in a batch of rows (N, C), N at least 1."""
        rows = np.asarray(rows_NC, dtype=np.float64)
        mean, total = rows.mean(axis=0), self.count_ + len(rows)
        shift, centred = mean - self.mean_, rows - mean
        self._products_CC += centred.T @ centred + np.outer(shift, shift) * (self.count_ * len(rows) / total)
        self.mean_ = self.mean_ + shift * (len(rows) / total)
        self.count_ = total
        return self

    @property
    def covariance_(self) -> np.ndarray:
        """The covariance (C, C) of the rows so far, over N."""
        return np.asarray(self._products_CC / max(self.count_, 1))


class OverlappingClassSets:
    """Sets of classes that are often predicted together: online k-means on the columns of the predictions' covariance.

    Columns are scaled to length 1. As they are, most are short beside those of the few classes with the most variance,
    so that one cluster at the origin takes nearly all classes. Each cluster's set is the ``size`` classes whose columns
    lie nearest to its centre, so that sets may overlap, and a class may be in none.

    Args:
        num_sets: M.
        size: S, classes in each set, less than all of them.
        seed: of the first centres and the order of the stream.
        passes: how often the columns are streamed.
        batch_size: columns in a batch.

    Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 5.3.
    """

    def __init__(self, num_sets: int, size: int, seed: int = 0, passes: int = 20, batch_size: int = 64) -> None:
        self.num_sets, self.size, self.seed = num_sets, size, seed
        self.passes, self.batch_size = passes, batch_size

    def fit(self, probs: Iterable[np.ndarray], num_classes: int) -> np.ndarray:
        """Return the sets (M, S), class numbers in rising order, from batches of predictions (N, C).

        Raises:
            UserError: there are as many sets as classes or more, or a set would hold every class.
        """
        if not 1 <= self.num_sets < num_classes or not 2 <= self.size < num_classes:
            raise UserError(
                f"class sets need fewer sets and fewer classes in a set than there are classes, got {self.num_sets} "
                f"sets of {self.size} for {num_classes} classes; lower mixture.num_domains or mixture.classes_each"
            )
        covariance = StreamedCovariance(num_classes)
        for batch in probs:
            covariance.partial_fit(batch)
        columns_CC = covariance.covariance_.T
        lengths_C1 = np.linalg.norm(columns_CC, axis=1, keepdims=True)
        columns_CC = columns_CC / np.maximum(lengths_C1, np.finfo(np.float64).tiny)
        distances_CM = self._cluster(columns_CC).distances(columns_CC)
        nearest = np.argsort(distances_CM, axis=0, kind="stable")[: self.size]
        return np.sort(nearest.T, axis=1)

    def _cluster(self, columns_CC: np.ndarray) -> OnlineKMeans:
        random = np.random.default_rng(self.seed)
        centres, _ = kmeans_plusplus(columns_CC, self.num_sets, random_state=self.seed)
        clusters = OnlineKMeans(centres)
        for _ in range(self.passes):
            order = random.permutation(len(columns_CC))
            for start in range(0, len(order), self.batch_size):
                clusters.partial_fit(columns_CC[order[start : start + self.batch_size]])
        return clusters
