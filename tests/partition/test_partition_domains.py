"""Partitions: planted structure is found, every domain has work, and the E step is right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

from moist.partition import (
    ConfusionPartitioner,
    EmbeddingPartitioner,
    RandomPartitioner,
    confusion_matrix,
    domain_rows,
    responsibilities,
)
from moist.types import Partition, UserError


def same_groups(found, planted):
    """Tell whether two assignments cut alike, whatever the numbers of the domains."""
    pairs = set(zip(np.asarray(found).tolist(), np.asarray(planted).tolist()))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def planted(groups, rows=10, noise=0.01, seed=0):
    """Predictions of a teacher that confuses the classes of one group, and their labels."""
    groups = np.asarray(groups)
    target = np.repeat(np.arange(len(groups)), rows)
    probs = 2.0 * np.eye(len(groups)) + (groups[:, None] == groups[None, :])
    probs = probs[target] + noise * np.random.default_rng(seed).random((len(target), len(groups)))
    return probs / probs.sum(axis=1, keepdims=True), target


def test_confusion_matrix_worked_by_hand():
    probs = np.array([[0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0]])
    # Class 0: the mean of rows 0 and 1; class 1: row 2; class 2 has no example and confuses nothing.
    expected = [[0.7, 0.3, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(confusion_matrix(probs, np.array([0, 0, 1])), expected)
    np.testing.assert_allclose(confusion_matrix(probs), expected)


@pytest.mark.parametrize("groups", [[0, 1, 2, 3] * 3, [0, 0, 0, 0, 0, 1, 1, 2, 2, 2]])
@pytest.mark.parametrize("labelled", [True, False])
def test_planted_confusions_are_found(groups, labelled):
    probs, target = planted(groups)
    partition = ConfusionPartitioner(max(groups) + 1).partition(probs, target if labelled else None)
    assert same_groups(partition.class_to_domain, groups)
    assert np.array_equal(partition.assignment, partition.class_to_domain[target])
    assert partition.assignment.dtype == partition.class_to_domain.dtype == np.int64


def test_classes_of_digits_are_cut_the_same_way_twice():
    inputs, target = load_digits(return_X_y=True)
    probs = GaussianNB(var_smoothing=0.1).fit(inputs, target).predict_proba(inputs)
    first, second = (ConfusionPartitioner(4, seed=1).partition(probs, target) for _ in range(2))
    assert np.array_equal(first.class_to_domain, second.class_to_domain)
    assert set(first.assignment) == set(range(4))


@settings(max_examples=25, deadline=None)
@given(classes=st.integers(2, 9), seed=st.integers(0, 1000), data=st.data())
def test_every_class_domain_has_examples(classes, seed, data):
    num_domains = data.draw(st.integers(1, classes))
    probs = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), 40)
    target = np.arange(40) % classes
    partition = ConfusionPartitioner(num_domains, seed).partition(probs, target)
    assert set(partition.assignment.tolist()) == set(range(num_domains))
    assert partition.class_to_domain.shape == (classes,)


def test_a_class_without_examples_joins_the_domain_it_is_confused_with():
    groups = [0, 1, 0, 1, 0, 1]
    probs, target = planted(groups)
    there = target != 5
    partition = ConfusionPartitioner(2).partition(probs[there], target[there])
    assert same_groups(partition.class_to_domain, groups)
    assert set(partition.assignment) == {0, 1}


def test_one_class_to_a_domain():
    probs, target = planted([0, 0, 1])
    assert same_groups(ConfusionPartitioner(3).partition(probs, target).class_to_domain, [0, 1, 2])


def test_more_domains_than_classes_are_refused():
    probs, target = planted([0, 0, 1])
    with pytest.raises(UserError, match=r"got num_domains=4 for 3 classes; lower mixture\.num_domains"):
        ConfusionPartitioner(4).partition(probs, target)
    with pytest.raises(UserError, match=r"got num_domains=3 for 2 classes"):
        ConfusionPartitioner(3).partition(probs[target != 1], target[target != 1])


def test_planted_clusters_of_embeddings_are_found():
    centre = np.arange(60) % 3
    embedding = 100 * (np.eye(3)[centre] + 0.05 * np.random.default_rng(0).normal(size=(60, 3)))
    partition = EmbeddingPartitioner(3).partition(embedding.astype(np.float32))
    assert same_groups(partition.assignment, centre)
    assert partition.class_to_domain is None
    assert partition.assignment.dtype == np.int64


def test_equal_embeddings_leave_no_domain_without_work():
    embedding = np.repeat(np.eye(2, dtype=np.float32), 5, axis=0)
    assert set(EmbeddingPartitioner(4).partition(embedding).assignment.tolist()) == {0, 1, 2, 3}
    assert set(EmbeddingPartitioner(2).partition(np.zeros((5, 3), np.float32)).assignment.tolist()) == {0, 1}


@pytest.mark.parametrize(("rows", "domains"), [(10, 4), (12, 3), (3, 3)])
def test_random_domains_are_of_equal_size(rows, domains):
    partition = RandomPartitioner(domains, seed=1).partition(rows)
    sizes = np.bincount(partition.assignment, minlength=domains)
    assert sizes.sum() == rows
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(partition.assignment, RandomPartitioner(domains, seed=1).partition(rows).assignment)


def test_random_domains_depend_on_the_seed():
    first, second = (RandomPartitioner(4, seed).partition(100).assignment for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_more_domains_than_examples_are_refused():
    with pytest.raises(UserError, match="got num_domains=6 for 5 examples"):
        EmbeddingPartitioner(6).partition(np.zeros((5, 2), np.float32))
    with pytest.raises(UserError, match="got num_domains=6 for 5 examples"):
        RandomPartitioner(6).partition(5)


def test_responsibilities_worked_by_hand():
    # Likelihoods 1 and 1/2. Prior (1/2, 1/2): 0.5 and 0.25, so 2/3 and 1/3. Prior (1/4, 3/4): 0.25 and 0.375: 0.4, 0.6.
    loss = np.array([[0.0, np.log(2)], [0.0, np.log(2)]])
    prior = np.log([[0.5, 0.5], [0.25, 0.75]])
    np.testing.assert_allclose(responsibilities(loss, prior), [[2 / 3, 1 / 3], [0.4, 0.6]])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), members=st.integers(1, 6))
def test_responsibilities_against_the_naive_computation(seed, members):
    random = np.random.default_rng(seed)
    loss, prior = 5 * random.random((7, members)), random.dirichlet(np.ones(members), 7)
    joint = prior * np.exp(-loss)
    np.testing.assert_allclose(responsibilities(loss, np.log(prior)), joint / joint.sum(axis=1, keepdims=True))


def test_responsibilities_stay_finite_far_from_zero():
    result = responsibilities(np.array([[2000.0, 2001.0]]), np.log([[0.5, 0.5]]))
    np.testing.assert_allclose(result, [[1 / (1 + np.exp(-1)), 1 / (1 + np.e)]])


def test_a_specialist_reads_its_own_rows_and_its_share_of_others():
    partition = Partition(2, np.array([0, 0, 0, 1, 1, 1, 1, 1]))
    assert domain_rows(partition, 0, 0.0, seed=0).tolist() == [0, 1, 2]
    # A half from outside: three rows of its own need three of the other five.
    rows = domain_rows(partition, 0, 0.5, seed=0)
    assert sorted(rows.tolist()) == rows.tolist()
    assert set(rows) >= {0, 1, 2}
    assert len(set(rows)) == 6
    # There are no more than five others, however large the share.
    assert len(domain_rows(partition, 0, 0.99, seed=0)) == 8
