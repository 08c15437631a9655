"""Servers for real (a socket, uvicorn in a thread, a client that speaks HTTP), and what is sent to them."""

import asyncio
import http.client
import io
import json
import socket
import threading
import time

import numpy as np
import uvicorn
from PIL import Image

from moist.serve import create_app


class Server:
    """A running server and its client."""

    def __init__(self, path, open_session, settings):
        self.app = create_app(path, open_session, settings)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        config = uvicorn.Config(self.app, log_level="critical", timeout_graceful_shutdown=20)
        self.uvicorn = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.uvicorn.serve([self.socket])), daemon=True)
        self.thread.start()
        wait_for(lambda: self.uvicorn.started)

    def ask(self, method, path, body=None, headers=None):
        """Send one request on a connection of its own; returns status, headers (lower case) and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, method, path, body=None, kind="application/json", status=200):
        """Send one request that must end with ``status``, and return the JSON that it was answered with."""
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        got, headers, content = self.ask(method, path, body, {} if body is None else {"content-type": kind})
        assert got == status, content
        assert headers["content-type"] == "application/json"
        return json.loads(content)

    def predict(self, body, kind="application/json", query="", status=200):
        return self.json("POST", f"/v1/predict{query}", body, kind, status)

    def metric(self, name):
        """Return the value of one line of /metrics."""
        lines = self.ask("GET", "/metrics")[2].decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), None)

    def stop(self):
        self.uvicorn.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def png(image):
    """Encode one image (H, W, 1) as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()


def npy(array):
    """Encode an array as .npy."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype.hasobject)
    return buffer.getvalue()


def form(parts, boundary="limit"):
    """Encode a form: (field name, file name or None, media type or None, content); returns body and Content-Type."""
    body = b""
    for name, file, kind, content in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n".encode()
        body += (f"Content-Type: {kind}\r\n" if kind else "").encode() + b"\r\n" + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
