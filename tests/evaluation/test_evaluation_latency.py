import time

import pytest
import torch

from moist.evaluation import measure_latency


def test_times_are_in_milliseconds_and_ordered():
    result = measure_latency(lambda: time.sleep(0.002), repeats=10, warmup=1)
    assert set(result) == {"median", "p10", "p90"}
    assert 2.0 <= result["p10"] <= result["median"] <= result["p90"] < 1000


def test_warm_up_is_not_timed():
    calls = []
    measure_latency(lambda: calls.append(torch.get_num_threads()), repeats=5, warmup=3)
    assert calls == [1] * 8


def test_threads_are_restored_also_after_an_error():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            measure_latency(lambda: 1 / 0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
