"""Groups of classes: no domain outgrows its size, and groups grow by what is confused with them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from moist.partition import ConfusionPartitioner, grow_groups, limit_domains, symmetric_confusions

# Classes 0 to 3 in a row, each confused with its neighbours, 2 and 3 least.
CHAIN = np.array([[0.0, 0.3, 0.0, 0.0], [0.3, 0.0, 0.2, 0.0], [0.0, 0.2, 0.0, 0.1], [0.0, 0.0, 0.1, 0.0]])


def test_confusions_both_ways_worked_by_hand():
    confusions = np.array([[0.7, 0.3], [0.1, 0.9]])
    np.testing.assert_allclose(symmetric_confusions(confusions), [[0.0, 0.2], [0.2, 0.0]])
    assert confusions[0, 0] == 0.7  # what was given is left as it was


def test_the_class_that_loses_least_moves_worked_by_hand():
    # Domain 0 holds 0, 1 and 2. In it 0 has a mean affinity of 0.3 / 3, 1 of 0.5 / 3, 2 of 0.2 / 3; beside 3 they would
    # have 0, 0 and 0.1: class 2 even gains.
    assert limit_domains(np.array([0, 0, 0, 1]), 2, CHAIN, 2).tolist() == [0, 0, 1, 1]


def test_domains_within_the_limit_stay():
    assert limit_domains(np.array([0, 0, 0, 1]), 2, CHAIN, 3).tolist() == [0, 0, 0, 1]


def test_groups_grow_by_the_classes_most_confused_with_them():
    # Beside {0, 1} class 2 is confused by 0.2 and 3 not at all; beside {2, 3} class 1 is by 0.2 and 0 not at all.
    assert grow_groups(np.array([0, 0, 1, 1]), 2, CHAIN, 3).tolist() == [[0, 1, 2], [1, 2, 3]]


def test_groups_of_all_classes_hold_all_of_them():
    assert grow_groups(np.array([0, 0, 1, 1]), 2, CHAIN, 4).tolist() == [[0, 1, 2, 3]] * 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 5), st.integers(0, 3))
def test_every_class_keeps_a_specialist_that_knows_it(seed, num_domains, spare):
    random = np.random.default_rng(seed)
    num_classes = num_domains + int(random.integers(0, 12))
    size = min(-(-num_classes // num_domains) + spare, num_classes)
    target = np.repeat(np.arange(num_classes), 3)
    probs = random.dirichlet(np.ones(num_classes), len(target))
    partition = ConfusionPartitioner(num_domains, most_classes=size).partition(probs, target)
    domains = partition.class_to_domain
    assert domains is not None
    assert np.bincount(domains, minlength=num_domains).max() <= size
    affinity = symmetric_confusions(random.random((num_classes, num_classes)))
    groups = grow_groups(domains, num_domains, affinity, size)
    assert groups.shape == (num_domains, size)
    for domain, group in enumerate(groups):
        assert set(np.flatnonzero(domains == domain)) <= set(group)
        assert len(set(group)) == size
