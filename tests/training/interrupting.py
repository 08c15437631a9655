"""Press Ctrl-C while a counting job of job_functions.py runs."""

import os
import signal
import threading
import time

import pytest


def interrupt_once_started(folder, run):
    """Call ``run`` and press Ctrl-C when the job that counts in ``folder`` has begun."""
    ended = threading.Event()

    def press():
        while not (folder / "started.txt").exists():
            time.sleep(0.02)
        time.sleep(0.2)
        if not ended.is_set():  # on a crawling machine the job may be done, and nobody would catch the signal
            os.kill(os.getpid(), signal.SIGINT)

    # A shell starts background commands with Ctrl-C ignored, and they hand that on to their children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=press, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            run()
    finally:
        ended.set()
        signal.signal(signal.SIGINT, before)
