"""The process: it tells where it listens, reloads on SIGHUP, and on SIGTERM answers what is in flight."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from serving import npy

from moist.errors import UserError
from moist.runtime import RoutedSession
from moist.serve import serve
from moist.serve.models import ModelHolder
from moist.serve.running import _listen

PROGRAM = Path(__file__).with_name("serve_program.py")


@pytest.fixture
def process(digits_bundle):
    running = subprocess.Popen([sys.executable, PROGRAM, digits_bundle], stderr=subprocess.PIPE, text=True)
    with running:
        yield running
        running.kill()


def line(process, words):
    """Return the next line on stderr that says ``words``."""
    for text in process.stderr:
        if words in text:
            return text
    raise AssertionError(f"the process ended without saying {words!r}")


def ask(port, body):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/v1/predict", body, {"content-type": "application/x-npy"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_signals(process, digits_bundle, images):
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)", line(process, "listening at")).group(1))
    status, answer = ask(port, npy(images))
    assert status == 200
    os.utime(digits_bundle / "bundle.json", (1, 1))
    process.send_signal(signal.SIGHUP)
    line(process, "serving version")
    with ThreadPoolExecutor(3) as pool:
        tasks = [pool.submit(ask, port, npy(images)) for _ in range(3)]
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        answers = [task.result(60) for task in tasks]
    assert [status for status, _ in answers] == [200, 200, 200]
    assert all(later["predictions"] == answer["predictions"] for _, later in answers)
    assert all(later["version"] != answer["version"] for _, later in answers)
    assert process.wait(30) == 0


def test_an_address_that_is_taken_is_said(digits, digits_bundle):
    with pytest.raises(UserError, match=rf"listen at 127\.0\.0\.1, port {digits.port}, but: .*choose others"):
        serve(digits_bundle, type(digits.app.state.holder.current.session), port=digits.port)


def test_answers_do_not_wait_for_acknowledgements():
    with _listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP  # what asyncio looks at before it sets TCP_NODELAY


def test_an_error_names_the_folder_that_was_asked_for_not_its_copy(tmp_path):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "bundle.json").write_text("{}")
    with pytest.raises(UserError, match=re.escape(f"run: moist export {bundle}") + "$"):
        ModelHolder(bundle, RoutedSession, print)
