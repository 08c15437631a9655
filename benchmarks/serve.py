"""Time the server: a lone client against the bare session and an empty endpoint, and a minute at twice saturation.

The model has the sizes of ``eight.yaml`` and random weights: what an input costs does not depend on them. It is
exported, and served by ``moist serve`` in a process of its own; PNG pictures are sent over kept connections.

    python benchmarks/serve.py
"""

from __future__ import annotations

import asyncio
import datetime
import io
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import numpy as np
import torch
from measuring import spread, timed
from PIL import Image

from moist.config import load_config
from moist.data import ImageSchema, ImageTransform
from moist.export import export_bundle
from moist.mixture import build_mixture, save_bundle
from moist.recipes import DistillSettings
from moist.recipes.results import machine
from moist.runtime import RoutedSession
from moist.storage import write_json

PROJECT = Path(__file__).resolve().parents[1]
TARGET = PROJECT / "results" / "bench-serve.json"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ROUNDS, REQUESTS = 15, 60  # of each kind in a round
LEVELS = (1, 4, 16, 64)  # clients, to find the most that the server answers
LEVEL_SECONDS = 3.0
OVERLOAD_SECONDS, CONNECTIONS = 60.0, 800  # more than may wait in the server's queue


def main() -> None:
    """Measure, print and write the result file."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "bundle")
        export_bundle(bundle)
        server, port = start_server(bundle)
        try:
            lone = lone_client(RoutedSession(bundle), port)
            saturation = asyncio.run(find_saturation(port))
            overload = asyncio.run(overloaded(port, server.pid, 2 * max(saturation.values())))
        finally:
            server.terminate()
            code = server.wait(60)
    document = result(lone, saturation, {**overload, "exit_code": code}, time.perf_counter() - started)
    write_json(TARGET, document)
    print(summary(document))


def make_bundle(path: Path) -> Path:
    """Save a mixture of these sizes with random weights."""
    torch.manual_seed(0)
    settings = load_config(DistillSettings, PROJECT / "benchmarks" / "eight.yaml")
    schema = ImageSchema(32, 32, 3)
    transform = ImageTransform(schema, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
    example = transform.to_tensor(torch.from_numpy(pictures(8)))
    shape = transform.input_shape
    mixture = build_mixture(settings.mixture, settings.student, shape, len(CLASSES), example).deploy().eval()
    mixture.classes, mixture.transform, mixture.schema = CLASSES, transform, schema
    save_bundle(mixture, path, student=settings.student, settings=settings.mixture, measured={})
    return path


def pictures(count: int) -> np.ndarray:
    """Return random pictures, uint8 (N, 32, 32, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def start_server(bundle: Path) -> tuple[subprocess.Popen[str], int]:
    """Start ``moist serve`` and return its process and port."""
    command = [sys.executable, "-m", "moist", "serve", str(bundle), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"http://[^:]+:(\d+)", line)
        if found:
            return process, int(found.group(1))
    raise RuntimeError("the server ended before it listened")


def as_png(image: np.ndarray) -> bytes:
    """Encode one picture."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def lone_client(session: RoutedSession, port: int) -> dict[str, list[float]]:
    """Return the median milliseconds of every round: the session alone, the empty endpoint, a prediction."""
    raw, body = pictures(1), as_png(pictures(1)[0])
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    calls: dict[str, Callable[[], object]] = {
        "session": lambda: session.predict(raw),
        "http_floor": lambda: ask(connection, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        "prediction": lambda: ask(connection, as_request("/v1/predict", body)),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(REQUESTS):
            # In turns: a lone client's requests find cold caches, and so must what they are set beside.
            for name, call in calls.items():
                times[name].append(timed(call))
        if number:  # the first round warms up
            for name, found in times.items():
                taken[name].append(1000 * statistics.median(found))
    connection.close()
    return taken


def as_request(path: str, body: bytes) -> bytes:
    """Return a whole request that posts one picture."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ask(connection: socket.socket, request: bytes) -> None:
    """Send one request in one piece; it must be answered with 200."""
    connection.sendall(request)
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += connection.recv(65536)
    length = re.search(rb"(?i)content-length: (\d+)", received)
    while length is not None and len(received) < end + 4 + int(length.group(1)):
        received += connection.recv(65536)
    if not received.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(received[:200].decode())


class Client:
    """One kept connection that sends the same picture again and again."""

    def __init__(self, port: int, body: bytes) -> None:
        self.port, self.request = port, as_request("/v1/predict?top=1", body)
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def send(self) -> tuple[int, bool]:
        """Send one request; return its status and whether it says when to come back."""
        if self.reader is None or self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(self.request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", head)
        await self.reader.readexactly(int(length.group(1)) if length else 0)
        return int(head.split(b" ", 2)[1]), b"\nretry-after:" in head

    def close(self) -> None:
        """Drop the connection."""
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


async def find_saturation(port: int) -> dict[int, float]:
    """Return the answers a second with each number of clients that send as fast as they are answered."""
    body, found = as_png(pictures(1)[0]), {}
    for level in LEVELS:
        answered = 0
        end = time.perf_counter() + LEVEL_SECONDS

        async def work(end: float = end) -> int:
            client, count = Client(port, body), 0
            while time.perf_counter() < end:
                status, _ = await client.send()
                count += status == 200
            client.close()
            return count

        answered = sum(await asyncio.gather(*(work() for _ in range(level))))
        found[level] = answered / LEVEL_SECONDS
    return found


async def overloaded(port: int, pid: int, rate: float) -> dict[str, Any]:
    """Send ``rate`` requests a second for a minute, whether or not the ones before are answered."""
    body, outcomes, waits = as_png(pictures(1)[0]), Counter[str](), []
    free: asyncio.Queue[Client] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(Client(port, body))
    memory = [resident(pid)]
    started = time.perf_counter()

    async def one(due: float) -> None:
        client = await free.get()
        try:
            status, says_when = await asyncio.wait_for(client.send(), 60)
            outcomes["answered" if status == 200 else "refused" if status == 503 and says_when else f"{status}"] += 1
            if status == 200:
                waits.append(time.perf_counter() - started - due)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            outcomes[f"lost: {type(error).__name__}"] += 1
            client.close()
        free.put_nowait(client)

    tasks: set[asyncio.Task[None]] = set()
    sent = 0
    while (now := time.perf_counter() - started) < OVERLOAD_SECONDS:
        while sent < rate * now:
            task = asyncio.create_task(one(sent / rate))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        if len(memory) <= now:
            memory.append(resident(pid))
        await asyncio.sleep(0.002)
    await asyncio.gather(*tasks)
    third = len(memory) // 3
    return {
        "offered_per_second": round(rate, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "sent": sent,
        "outcomes": dict(outcomes),
        "lost": sent - outcomes["answered"] - outcomes["refused"],
        "resident_mib": [round(value, 1) for value in memory],
        "resident_last_third_over_middle": round(
            statistics.mean(memory[-third:]) / statistics.mean(memory[third:-third]), 4
        ),
        "answered_p50_ms_from_when_due": round(1000 * statistics.median(waits), 1) if waits else None,
    }


def resident(pid: int) -> float:
    """Return the resident memory of a process, MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def result(
    lone: Mapping[str, Sequence[float]], saturation: Mapping[int, float], overload: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """Put the numbers into one document."""
    ratios = [p / (s + f) for s, f, p in zip(lone["session"], lone["http_floor"], lone["prediction"])]
    return {
        "schema": 1,
        "name": "bench-serve",
        "command": "python benchmarks/serve.py",
        "date": datetime.date.today().isoformat(),
        "data": {"name": "random pictures, 32 x 32 x 3, PNG"},
        "teacher": {"name": "none: random weights of the sizes in benchmarks/eight.yaml"},
        "seeds": [0],
        "versions": {
            **{name: version(name) for name in ("moist", "fastapi", "uvicorn", "onnxruntime")},
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "machine": {**machine(), "load": [round(x, 1) for x in os.getloadavg()]},
        "seconds": round(seconds, 1),
        "systems": {},  # no accuracy is measured here: the table of results passes over this file
        "measured": {
            "lone_client_p50_ms": {name: spread(values) for name, values in lone.items()},
            "answers_per_second_by_clients": {str(level): round(rate, 1) for level, rate in saturation.items()},
            "overload": dict(overload),
        },
        "derived": {"lone_over_session_plus_floor": spread(ratios)},
        "notes": [
            "The three kinds take turns, call by call, so that all find caches as cold; each value is a round's median "
            f"of {REQUESTS} calls. Client and server share the machine with whatever else runs: read the ratios.",
            "The overload is offered whether or not earlier requests are answered, over at most "
            f"{CONNECTIONS} connections; a request waits for a free one at the client.",
        ],
    }


def summary(document: Mapping[str, Any]) -> str:
    """Return the result as lines for the terminal."""
    lone, ratio = document["measured"]["lone_client_p50_ms"], document["derived"]["lone_over_session_plus_floor"]
    overload = document["measured"]["overload"]
    lines = [f"{name}: {values['median']} ms" for name, values in lone.items()]
    lines += [
        f"prediction over session + floor: {ratio['median']} ({ratio['min']} to {ratio['max']})",
        f"answers a second by clients: {document['measured']['answers_per_second_by_clients']}",
        f"overload: {overload['sent']} sent, {overload['outcomes']}, lost {overload['lost']}, memory "
        f"x{overload['resident_last_third_over_middle']}, exit code {overload['exit_code']}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
