"""A whole run that is ended from outside: its workers notice, save, and are gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("job_functions.py")


def wait_for(condition, seconds=90.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_workers_outlive_their_parent_only_to_save(tmp_path, name):
    parent = subprocess.Popen([sys.executable, str(SCRIPT), str(tmp_path)])
    try:
        assert wait_for((tmp_path / "started.txt").exists)
        worker = int((tmp_path / "started.txt").read_text())
        time.sleep(0.3)
        parent.send_signal(signal.Signals[name])
        parent.wait(timeout=10)
        assert wait_for((tmp_path / "count" / "steps.txt").exists, 10)
        assert wait_for(lambda: not runs(worker), 10)
    finally:
        parent.kill()
        parent.wait()
    assert int((tmp_path / "count" / "steps.txt").read_text()) > 0
    assert not (tmp_path / "count" / "done.json").exists()
