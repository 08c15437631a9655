"""A batch shared out among threads: whole, in order, and with the errors that one thread would raise."""

import threading
import time
import weakref

import numpy as np
import pytest
from export_examples import make_example, write_bundle

from moist.export import export_bundle
from moist.runtime import RoutedSession
from moist.runtime.crew import FEWEST_ROWS, Crew
from moist.runtime.engine import open_graph


@pytest.mark.parametrize("threads", [1, 3, 4])
@pytest.mark.parametrize("num_rows", [1, FEWEST_ROWS, 2 * FEWEST_ROWS + 1, 257])
def test_parts_hold_each_row_once_and_are_nearly_equal(threads, num_rows):
    parts = Crew(threads).parts(num_rows)
    rows = np.arange(num_rows)
    np.testing.assert_array_equal(np.concatenate([rows[part] for part in parts]), rows)
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == max(1, min(threads, num_rows // FEWEST_ROWS))


def test_answers_come_in_order_from_several_threads():
    meeting = threading.Barrier(3, timeout=30)  # passes only when three work at once

    def work(item):
        meeting.wait()
        return item, threading.get_ident()

    answers = Crew(3).each(work, [5, 6, 7])
    assert [item for item, _ in answers] == [5, 6, 7]
    assert len({thread for _, thread in answers}) == 3


def test_one_item_stays_with_its_caller():
    assert Crew(4).each(lambda _: threading.get_ident(), [0]) == [threading.get_ident()]


def test_the_first_error_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        Crew(2).each(lambda item: 1 / item, [1, 0, 2])


@pytest.mark.parametrize("changes", [{}, {"top_k": 2, "defer": True}], ids=["top-1", "top-2-deferring"])
@pytest.mark.parametrize("case", ["table-mlp", "image-resnet-trunk", "text-bag"])
def test_a_batch_has_the_same_answer_on_any_number_of_threads(case, changes, tmp_path):
    tiny = make_example(case, **changes)
    export_bundle(write_bundle(tiny, tmp_path / "bundle"))
    raw = np.concatenate([tiny.raw] * 40)
    for limit in (None, 1):
        with RoutedSession(tmp_path / "bundle", max_resident=limit) as session:
            expected = session.predict(raw)
        with RoutedSession(tmp_path / "bundle", max_resident=limit, threads=4) as session:
            found = session.predict(raw)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
        np.testing.assert_array_equal(found.domain, expected.domain)
        np.testing.assert_array_equal(found.deferred, expected.deferred)
        np.testing.assert_array_equal(found.macs, expected.macs)
        assert not changes or found.deferred.any()


class SlowGraph:
    """A graph whose runs take long enough for those of other threads to fall into them."""

    def __init__(self, graph):
        self.graph = graph

    def run(self, inputs):
        time.sleep(0.005)
        return self.graph.run(inputs)


@pytest.mark.parametrize("calls", ["one-batch", "single-inputs-at-once"])
@pytest.mark.parametrize("limit", [1, 2])
def test_threads_never_hold_more_specialists_than_may_be_resident(limit, calls, tmp_path, monkeypatch):
    tiny = make_example("table-mlp", top_k=2, num_domains=8)
    export_bundle(write_bundle(tiny, tmp_path / "bundle"))
    raw = np.concatenate([tiny.raw] * 40)
    with RoutedSession(tmp_path / "bundle") as session:
        expected = session.predict(raw)
    assert len(np.unique(expected.domain)) > 2, "the test is to reach several specialists"
    alive, counts, lock = weakref.WeakSet(), [], threading.Lock()

    def open_slow(path, *, frugal=False, **options):
        graph = SlowGraph(open_graph(path, frugal=frugal, **options))
        if frugal:  # as specialists are that must make room
            with lock:
                alive.add(graph)
                counts.append(len(alive))
        return graph

    monkeypatch.setattr("moist.runtime.mixture.open_graph", open_slow)
    with RoutedSession(tmp_path / "bundle", max_resident=limit, threads=4) as session:
        if calls == "one-batch":
            answers = [session.predict(raw)]
        else:
            answers = Crew(4).each(lambda row: session.predict(raw[row : row + 1]), range(len(raw)))
    assert max(counts) == limit
    assert len(counts) > 2
    probabilities = np.concatenate([answer.probabilities for answer in answers])
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([answer.domain for answer in answers]), expected.domain)
