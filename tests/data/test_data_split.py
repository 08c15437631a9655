import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moist.data.split import cut
from moist.types import UserError


def test_every_class_gives_its_share():
    # 60, 30 and 10 examples; a fifth of each is 12, 6 and 2.
    target = np.repeat([0, 1, 2], [60, 30, 10])
    stay, go = cut(100, target, 0.2, 0)
    assert np.bincount(target[go]).tolist() == [12, 6, 2]
    assert sorted([*stay, *go]) == list(range(100))


def test_the_cut_depends_on_the_seed_alone():
    target = np.arange(50) % 5
    assert np.array_equal(cut(50, target, 0.2, 1)[1], cut(50, target, 0.2, 1)[1])
    assert not np.array_equal(cut(50, target, 0.2, 1)[1], cut(50, target, 0.2, 2)[1])


@given(st.lists(st.integers(0, 6), min_size=2, max_size=60), st.floats(0.01, 0.99), st.booleans())
def test_parts_are_disjoint_whole_and_never_empty(labels, fraction, labelled):
    target = np.array(labels)
    stay, go = cut(len(labels), target if labelled else None, fraction, 0)
    assert len(go) >= 1
    assert sorted([*stay, *go]) == list(range(len(labels)))
    if labelled and len(set(labels)) < len(labels):
        assert set(target[stay]) == set(labels)


def test_one_row_cannot_be_cut():
    with pytest.raises(UserError, match="at least 2 rows, got 1"):
        cut(1, None, 0.5, 0)
