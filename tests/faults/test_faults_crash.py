"""Killed again and again, a run goes on and leaves the bundle that an undisturbed one leaves."""

import sys

import pytest

DEATHS = 50


@pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGKILL are of POSIX")
def test_fifty_deaths_change_nothing(tmp_path):
    from crash_harness import Harness

    tally = Harness(tmp_path, seed=1).die(DEATHS)
    assert tally.total >= DEATHS
    assert min(tally.deaths.values()) >= DEATHS / 2
    assert tally.completed >= 2
    assert tally.different == []
