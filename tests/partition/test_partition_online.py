"""Online k-means, streamed covariance, and overlapping sets of classes."""

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from moist.errors import UserError
from moist.partition import OnlineKMeans, OverlappingClassSets, StreamedCovariance


def batches(seed, num=30, size=16, dim=5):
    random = np.random.default_rng(seed)
    means = random.normal(size=(4, dim)) * 4
    return [means[random.integers(0, 4, size)] + random.normal(size=(size, dim)) for _ in range(num)]


@pytest.mark.parametrize("seed", range(3))
def test_the_centres_are_scikit_learns_on_the_same_stream(seed):
    stream = batches(seed)
    start = stream[0][:4]
    theirs = MiniBatchKMeans(4, init=start, n_init=1, reassignment_ratio=0.0, random_state=0)
    ours = OnlineKMeans(start)
    with threadpool_limits(1):
        for batch in stream:
            theirs.partial_fit(batch)
            ours.partial_fit(batch)
    np.testing.assert_allclose(ours.centres_, theirs.cluster_centers_)
    np.testing.assert_array_equal(ours.predict(stream[-1]), theirs.predict(stream[-1]))


def test_a_centre_is_the_mean_of_all_its_points():
    clusters = OnlineKMeans(np.array([[0.0], [10.0]]))
    clusters.partial_fit(np.array([[1.0], [3.0], [9.0]])).partial_fit(np.array([[2.0]]))
    # (1 + 3) / 2 = 2, then (1 + 3 + 2) / 3 = 2.
    np.testing.assert_allclose(clusters.centres_, [[2.0], [9.0]])
    np.testing.assert_array_equal(clusters.counts_, [3, 1])


def test_a_streamed_covariance_is_the_whole_ones():
    rows = np.random.default_rng(0).normal(size=(50, 3)) + 5
    streamed = StreamedCovariance(3)
    for part in (rows[:1], rows[1:20], rows[20:]):
        streamed.partial_fit(part)
    np.testing.assert_allclose(streamed.covariance_, np.cov(rows.T, bias=True))
    np.testing.assert_allclose(streamed.mean_, rows.mean(axis=0))


def confused(num_groups=3, each=4, num_rows=600, seed=0):
    """Predictions of a model that confuses the classes of a group: 0 to 3, 4 to 7, 8 to 11."""
    random = np.random.default_rng(seed)
    probs = np.full((num_rows, num_groups * each), 1e-3)
    for row, group in zip(probs, random.integers(0, num_groups, num_rows)):
        row[group * each : (group + 1) * each] += random.dirichlet(np.full(each, 20.0))
    return probs / probs.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
def test_classes_that_are_confused_are_put_together(seed):
    probs = confused(seed=seed)
    sets = OverlappingClassSets(3, 4, seed).fit(np.split(probs, 6), 12)
    assert sorted(map(tuple, sets.tolist())) == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]


def test_larger_sets_overlap_and_keep_their_size():
    sets = OverlappingClassSets(3, 6).fit([confused()], 12)
    assert sets.shape == (3, 6)
    assert all(len(set(own)) == 6 for own in sets.tolist())
    assert max(np.bincount(sets.ravel(), minlength=12)) > 1


@pytest.mark.parametrize(("num_sets", "size"), [(12, 4), (0, 4), (3, 12), (3, 1)])
def test_impossible_sets_are_refused(num_sets, size):
    with pytest.raises(UserError, match=r"mixture\.classes_each"):
        OverlappingClassSets(num_sets, size).fit([confused()], 12)
