import threading

import pytest

from moist.errors import UserError
from moist.runtime.residents import Residents


def opened(**limits):
    calls = []

    def open_one(k):
        calls.append(k)
        return f"number {k}"

    return Residents(open_one, [10, 20, 30], **limits), calls


def test_each_is_opened_once_without_limits():
    residents, calls = opened()
    assert [residents[k] for k in (2, 0, 2, 1, 0)] == ["number 2", "number 0", "number 2", "number 1", "number 0"]
    assert calls == [2, 0, 1]
    assert residents.resident == (2, 1, 0)
    assert residents.bytes == 60
    assert len(residents) == 3


def test_the_one_unused_for_longest_makes_room():
    residents, calls = opened(max_resident=2)
    for k in (0, 1, 0, 2, 1):
        _ = residents[k]
    # By hand: {0}, {0 1}, {1 0}, {0 2}, {2 1}.
    assert residents.resident == (2, 1)
    assert calls == [0, 1, 2, 1]


def test_a_budget_drops_as_many_as_needed():
    residents, _ = opened(memory_budget=35)
    for k in (0, 1):
        _ = residents[k]
    assert residents.resident == (0, 1)
    _ = residents[2]
    assert residents.resident == (2,)
    _ = residents[0]
    assert residents.resident == (0,)
    residents.clear()
    assert residents.resident == ()


def test_what_is_used_stays_and_who_needs_its_room_waits_for_it():
    residents, calls = opened(max_resident=2)
    ends, threads = [threading.Event(), threading.Event()], []

    def use(k, work):
        threads.append(threading.Thread(target=residents.use, args=(k, work)))
        threads[-1].start()

    for k in (0, 1):
        begun = threading.Event()
        use(k, lambda _, k=k, begun=begun: (begun.set(), ends[k].wait(30)))
        assert begun.wait(30)
    found = []
    use(2, lambda _: found.append(residents.resident))
    threads[2].join(0.2)
    assert threads[2].is_alive()
    assert residents.resident == (0, 1)
    ends[1].set()  # it can make room; 0 is unused for longer, but in use
    threads[2].join(30)
    assert found == [(0, 2)]
    ends[0].set()
    assert calls == [0, 1, 2]


@pytest.mark.parametrize("limits", [{"max_resident": 0}, {"memory_budget": 29}])
def test_there_must_be_room_for_one(limits):
    with pytest.raises(UserError, match="raise it, or leave it out"):
        opened(**limits)
