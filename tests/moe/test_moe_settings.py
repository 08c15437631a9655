"""What settings of a sparse layer are refused, and what follows from them."""

import pytest

from moist.config import ConfigError, load_config
from moist.moe import SparseSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"router": "switch", "top_k": 2}, "router 'switch' has top_k 1, got 2; set top_k: 1"),
        ({"router": "gshard", "top_k": 1}, "router 'gshard' has top_k 2, got 1"),
        ({"num_experts": 2, "top_k": 3}, "top_k must be between 1 and num_experts=2, got 3"),
        ({"router": "soft", "capacity_factor": 1.0}, "router 'soft' drops nothing, got capacity_factor=1.0"),
        ({"balance": {"load": 0.1}}, "balance.load needs the noise of router 'noisy-top-k', got router 'top-k'"),
    ],
)
def test_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        load_config(SparseSettings, values)


@pytest.mark.parametrize(
    ("blocks", "sparse"),
    [("all", [True] * 4), ("alternate", [False, True, False, True]), ("last", [False, False, False, True])],
)
def test_which_blocks_are_sparse(blocks, sparse):
    assert [SparseSettings(blocks=blocks).is_sparse(block, 4) for block in range(4)] == sparse


def test_active_experts():
    assert SparseSettings(top_k=2).active_experts == 2
    assert SparseSettings(router="expert-choice").active_experts == 2
    assert SparseSettings(router="soft", num_experts=4).active_experts == 4
