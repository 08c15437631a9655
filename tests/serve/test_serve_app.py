"""The server under what happens to servers: strangers, crowds, slow clients, new models, the end."""

import http.client
import json
import os
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from serving import npy, png, wait_for

from moist.errors import UserError
from moist.runtime import RoutedSession
from moist.serve import batching

NPY = "application/x-npy"


class Gated(RoutedSession):
    """Answers only once it is let through, notes the size of every batch, and hates white images."""

    def __init__(self, path):
        super().__init__(path)
        self.gate, self.busy, self.batches, self.closed = threading.Event(), threading.Event(), [], False

    def predict(self, raw):
        self.busy.set()
        assert self.gate.wait(60)
        self.batches.append(len(raw))
        if (raw == 255).all(axis=(1, 2, 3)).any():
            raise UserError("no white image, please")
        return super().predict(raw)

    def close(self):
        super().close()
        self.closed = True


@pytest.fixture
def gated(start, digits_bundle):
    """A server whose model waits at its gate, and that model."""

    def call(**settings):
        server = start(digits_bundle, Gated, **settings)
        return server, server.app.state.holder.current.session

    return call


def in_threads(count, work):
    pool = ThreadPoolExecutor(count)
    return [pool.submit(work, number) for number in range(count)]


def test_what_the_server_tells_of_itself(digits, digits_bundle):
    assert digits.json("GET", "/healthz") == {"status": "ok"}
    assert digits.json("GET", "/readyz") == {"status": "ready"}
    model = digits.json("GET", "/v1/model")
    assert model["classes"] == [str(digit) for digit in range(10)]
    assert (model["kind"], model["num_domains"], model["input"]["height"]) == ("vision", 3, 8)
    paths = digits.json("GET", "/openapi.json")["paths"]
    content = paths["/v1/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "image/png", "image/jpeg", "image/webp", NPY, "multipart/form-data"}
    assert next(iter(content["application/json"]["examples"])) == "vision"
    assert b"swagger" in digits.ask("GET", "/docs")[2]
    assert digits.json("GET", "/nothing", status=404) == {"error": "Not Found"}
    assert digits.ask("PUT", "/v1/predict")[0] == 405


def test_an_answer_says_what_was_decided_by_whom_and_at_what_cost(digits, digits_bundle, images):
    answer = digits.predict(npy(images), NPY, "?top=3")
    expected = RoutedSession(digits_bundle).predict(images)
    for row, entry in enumerate(answer["predictions"]):
        order = np.argsort(-expected.probabilities[row])[:3]
        assert list(entry["probabilities"]) == [str(code) for code in order]
        assert entry["probability"] == entry["probabilities"][entry["label"]]
        assert entry["domain"] == expected.domain[row]
        assert (entry["deferred"], entry["macs"]) == (False, expected.macs[row])
    assert answer["version"] == digits.json("GET", "/v1/model")["version"]
    assert "votes" not in answer


def test_votes_are_of_every_specialist(digits, digits_bundle, images):
    answer = digits.predict(npy(images[:1]), NPY, "?votes=true")
    votes = RoutedSession(digits_bundle).votes(images[:1])
    assert [vote["domain"] for vote in answer["votes"]] == [0, 1, 2]
    assert [vote["label"] for vote in answer["votes"]] == [str(code) for code in votes.argmax(axis=1)]
    chosen = answer["predictions"][0]
    assert answer["votes"][chosen["domain"]]["label"] == chosen["label"]
    assert "one input at a time" in digits.predict(npy(images), NPY, "?votes=true", status=422)["error"]
    assert "query.top" in digits.predict(npy(images), NPY, "?top=0", status=422)["error"]


def test_the_token_opens(start, digits_bundle, images):
    server = start(digits_bundle, token="sesame")
    for path in ("/", "/healthz", "/readyz", "/docs", "/openapi.json"):
        assert server.ask("GET", path)[0] == 200
    for given in (None, "Bearer sesam", "sesame", "Bearer gr\xf6\xdfe"):
        headers = {"content-type": NPY} | ({} if given is None else {"authorization": given})
        status, answer, _ = server.ask("POST", "/v1/predict", npy(images), headers)
        assert (status, answer["www-authenticate"]) == (401, "Bearer")
        assert server.ask("GET", "/metrics", headers=headers)[0] == 401
        assert server.ask("POST", "/v1/reload", headers=headers)[0] == 401
    headers = {"content-type": NPY, "authorization": "Bearer sesame"}
    assert server.ask("POST", "/v1/predict", npy(images), headers)[0] == 200


def test_a_batch_is_what_waits_already(gated, images):
    server, session = gated(max_batch=4)
    first = in_threads(1, lambda _: server.predict(npy(images[:1]), NPY))
    assert session.busy.wait(30)
    others = in_threads(7, lambda n: server.predict(npy(images[n % 5 : n % 5 + 1]), NPY))
    wait_for(lambda: server.metric("moist_waiting_rows") == 7)
    session.gate.set()
    answers = [task.result(60) for task in first + others]
    # The first found nobody else; of the seven that came meanwhile, max_batch fit at once.
    assert session.batches == [1, 4, 3]
    assert server.metric("moist_batch_rows_count") == 3
    assert answers[0] == answers[1] == answers[6]
    assert answers[2]["predictions"] == server.predict(npy(images[1:2]), NPY)["predictions"]


def test_a_lone_client_is_answered_without_a_change_of_thread(start, digits_bundle, images, monkeypatch):
    monkeypatch.setattr(batching, "BRIEF_SECONDS", 60.0)  # however slow the machine is

    class Noting(RoutedSession):
        threads: ClassVar[list[str]] = []

        def predict(self, raw):
            self.threads.append(threading.current_thread().name)
            return super().predict(raw)

    server = start(digits_bundle, Noting)
    answers = []
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        for _ in range(3):
            connection.request("POST", "/v1/predict", npy(images[:1]), {"content-type": NPY})
            answers.append(connection.getresponse().read())
    server.predict(npy(images[:1]), NPY)
    assert answers[0] == answers[1] == answers[2]
    assert [name == "moist-model" for name in Noting.threads] == [True, False, False, True]
    assert server.metric("moist_batch_rows_count") == 4


def test_a_bad_input_does_not_spoil_its_neighbours(gated, images):
    server, session = gated()
    blocker = in_threads(1, lambda _: server.predict(npy(images[:1]), NPY))
    assert session.busy.wait(30)
    white = np.full_like(images[:1], 255)
    good = in_threads(2, lambda _: server.predict(npy(images[:2]), NPY))
    bad = in_threads(1, lambda _: server.predict(npy(white), NPY, status=422))
    wait_for(lambda: server.metric("moist_waiting_rows") == 5)
    session.gate.set()
    assert bad[0].result(60) == {"error": "no white image, please"}
    assert [len(task.result(60)["predictions"]) for task in blocker + good] == [1, 2, 2]


def test_at_the_limit_requests_are_refused_and_none_is_lost(gated, images):
    server, session = gated(max_queue=3)
    taken = in_threads(1, lambda _: server.predict(npy(images[:1]), NPY))
    assert session.busy.wait(30)
    taken += in_threads(3, lambda _: server.predict(npy(images[:1]), NPY))
    wait_for(lambda: server.metric("moist_waiting_rows") == 3)
    for _ in range(3):
        status, headers, body = server.ask("POST", "/v1/predict", npy(images[:1]), {"content-type": NPY})
        assert status == 503
        assert int(headers["retry-after"]) >= 1
        assert "at its limit" in json.loads(body)["error"]
    status, headers, _ = server.ask("GET", "/readyz")
    assert (status, int(headers["retry-after"]) >= 1) == (503, True)
    assert server.ask("GET", "/healthz")[0] == 200
    session.gate.set()
    assert all(len(task.result(60)["predictions"]) == 1 for task in taken)
    assert server.ask("GET", "/readyz")[0] == 200
    assert server.metric('moist_requests_total{route="/v1/predict",status="503"}') == 3


def test_who_waits_too_long_is_told_to_come_back(gated, images):
    server, session = gated(request_timeout=0.2)
    first = in_threads(1, lambda _: server.predict(npy(images[:1]), NPY))
    assert session.busy.wait(30)
    late = in_threads(1, lambda _: server.ask("POST", "/v1/predict", npy(images[:1]), {"content-type": NPY}))
    wait_for(lambda: server.metric("moist_waiting_rows") == 1)
    time.sleep(0.3)
    session.gate.set()
    status, headers, body = late[0].result(60)
    assert (status, "retry-after" in headers) == (503, True)
    assert b"waited 0.2 s" in body
    assert len(first[0].result(60)["predictions"]) == 1


def talk(server, *pieces, pause=0.0):
    """Send raw bytes; return what comes until the server closes, or nothing more comes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: image/png\r\n"


def test_bodies_that_never_end(start, digits_bundle):
    server = start(digits_bundle, body_timeout=0.3, max_body_bytes=1000)
    assert b" 408 " in talk(server, HEAD + b"Content-Length: 10\r\n\r\n", b"abc")
    chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
    assert b" 413 " in talk(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, chunk)
    assert b" 413 " in talk(server, HEAD + b"Content-Length: 99999999\r\n\r\n")
    assert b" 400 " in talk(server, b"NONSENSE\r\n\r\n")
    assert server.ask("GET", "/healthz")[0] == 200


def test_a_client_that_goes_away_costs_nobody_anything(gated, images):
    server, session = gated()
    body = npy(images[:1])
    head = HEAD.replace(b"image/png", NPY.encode()) + f"Content-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head + body)
        assert session.busy.wait(30)
    session.gate.set()
    assert len(server.predict(body, NPY)["predictions"]) == 1


def test_a_new_model_takes_over_without_a_request_lost(start, digits_bundle, images):
    server = start(digits_bundle)
    old = server.app.state.holder.current
    body, versions, stop = npy(images), set(), threading.Event()

    def hammer(_):
        while not stop.is_set():
            versions.add(server.predict(body, NPY)["version"])

    hammering = in_threads(3, hammer)
    for round_ in range(3):
        (digits_bundle / "README.md").touch()
        os.utime(digits_bundle / "README.md", (round_, round_))
        assert server.json("POST", "/v1/reload")["reloaded"]
        time.sleep(0.2)
    stop.set()
    for task in hammering:
        task.result(60)  # would raise where one was not answered with 200
    assert len(versions) == 4
    assert server.metric('moist_reloads_total{result="done"}') == 3
    wait_for(lambda: not Path(old.folder).exists())


def test_a_model_is_kept_while_it_is_needed_and_then_closed(gated, images):
    server, session = gated()
    tasks = in_threads(1, lambda _: server.predict(npy(images[:1]), NPY))
    assert session.busy.wait(30)
    tasks += in_threads(1, lambda _: server.predict(npy(images[:1]), NPY))
    wait_for(lambda: server.metric("moist_waiting_rows") == 1)
    server.json("POST", "/v1/reload")
    assert not session.closed
    assert server.app.state.holder.current.session is not session
    session.gate.set()
    assert all(task.result(60) for task in tasks)
    wait_for(lambda: session.closed)


def test_a_new_model_that_is_damaged_leaves_the_old_one(start, digits_bundle, images):
    server = start(digits_bundle)
    before = server.predict(npy(images), NPY)
    weights = max((digits_bundle / "onnx").rglob("*"), key=lambda path: path.stat().st_size)
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "the old one stays" in server.json("POST", "/v1/reload", status=422)["error"]
    shutil.rmtree(digits_bundle)
    assert "the old one stays" in server.json("POST", "/v1/reload", status=422)["error"]
    assert server.predict(npy(images), NPY) == before
    assert server.metric('moist_reloads_total{result="failed"}') == 2


def test_a_folder_that_changes_is_noticed(start, digits_bundle):
    server = start(digits_bundle, watch_seconds=0.05)
    version = server.json("GET", "/v1/model")["version"]
    os.utime(digits_bundle / "bundle.json", (1, 1))
    wait_for(lambda: server.json("GET", "/v1/model")["version"] != version)


def test_a_stopping_server_finishes_what_is_in_flight(gated, images):
    server, session = gated()
    tasks = in_threads(1, lambda _: server.predict(npy(images[:1]), NPY))
    assert session.busy.wait(30)
    tasks += in_threads(3, lambda _: server.predict(npy(images[:1]), NPY))
    wait_for(lambda: server.metric("moist_waiting_rows") == 3)
    folder = server.app.state.holder.current.folder
    server.uvicorn.should_exit = True
    time.sleep(0.3)
    session.gate.set()
    assert all(len(task.result(60)["predictions"]) == 1 for task in tasks)
    server.thread.join(30)
    assert session.closed
    assert not Path(folder).exists()
    with pytest.raises(OSError, match="refused"):
        server.ask("GET", "/healthz")


def test_metrics_count_what_happened(digits, images):
    digits.predict(npy(images), NPY)
    digits.predict(png(images[0]), "image/png")
    digits.predict(b"", "image/png", status=422)
    digits.ask("GET", "/nowhere/1")
    assert digits.metric('moist_requests_total{route="/v1/predict",status="200"}') == 2
    assert digits.metric('moist_requests_total{route="/v1/predict",status="422"}') == 1
    assert digits.metric('moist_requests_total{route="other",status="404"}') == 1
    assert sum(digits.metric(f'moist_inputs_total{{domain="{k}"}}') or 0 for k in range(3)) == 6
    assert digits.metric("moist_batch_rows_sum") == 6
    assert digits.metric("moist_request_seconds_count") == 3
    assert (
        digits.metric("moist_macs_total")
        == 6 * digits.app.state.holder.current.session.manifest["costs"]["active"]["macs"]
    )
