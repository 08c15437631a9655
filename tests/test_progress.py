"""Progress goes to stderr: lines in a log file, bars on a terminal, nothing when quiet."""

import pytest
from rich.console import Console

from moist import progress
from moist.progress import jobs_display, progress_bar, say, track


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until told."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(progress, "_console", lambda: Console(stderr=True, force_terminal=True, width=120))


def test_a_line_now_and_then_with_the_time_left(capsys, clock):
    with progress_bar("training", 100) as advance:
        advance(10)
        clock.now += 20
        advance(10, "loss 1")
        clock.now += 1
        advance(10)
        advance(70)
    out, err = capsys.readouterr()
    assert out == ""
    # 20 of 100 in 20 s: 80 s for the rest
    assert err.splitlines() == ["training: 20/100, 80 s left loss 1", "training: 100/100, 0 s left"]


def test_track_yields_everything(capsys):
    assert list(track(iter("abc"), "reading", 3)) == ["a", "b", "c"]
    assert "reading: 3/3" in capsys.readouterr().err


def test_quiet_says_nothing(capsys, clock):
    with progress_bar("training", 1, quiet=True) as advance:
        advance()
    with jobs_display(1, done=0, quiet=True) as display:
        display.start("a")
        clock.now += 100
        display.update("a", 5, 10, "")
        display.finish("a")
    assert capsys.readouterr() == ("", "")


def test_jobs_in_a_log_file(capsys, clock):
    with jobs_display(3, done=1) as display:
        display.start("a")
        display.update("a", 50, 100, "")  # what an earlier run did tells nothing of this one's speed
        clock.now += 20
        display.update("a", 60, None, "loss [red]")
        clock.now += 1
        display.update("a", 61, None, "")
        display.finish("a")
    # 10 steps in 20 s: 80 s for the other 40
    assert capsys.readouterr().err.splitlines() == ["a: 60/100, 80 s left loss [red]", "[2/3] a: 21 s"]


def test_jobs_whose_size_is_unknown_are_silent_until_they_end(capsys, clock):
    with jobs_display(1, done=0) as display:
        display.start("a")
        clock.now += 50
        display.update("a", 3, None, "")
        display.finish("a")
    assert capsys.readouterr().err.splitlines() == ["[1/1] a: 50 s"]


def test_bars_on_a_terminal(capsys, terminal):
    with progress_bar("training", 4) as advance:
        advance(1, total=8)
        advance(7, "loss 1")
    with jobs_display(2, done=0) as display:
        for name in ("first", "second"):
            display.start(name)
            display.update(name, 0, 5, "")
            display.update(name, 5, None, "loss 2")
            display.finish(name)
    err = capsys.readouterr().err
    assert "8/8" in err
    assert "loss 1" in err
    assert "2/2" in err


def test_brackets_are_text_and_no_markup(capsys):
    say("[bold] costs 3 [EUR]")
    assert capsys.readouterr().err == "[bold] costs 3 [EUR]\n"


def test_what_is_said_is_one_line_however_long(capsys):
    words = "a message with a path " * 20
    say(words)
    assert capsys.readouterr().err == words + "\n"
