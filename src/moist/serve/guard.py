"""What every request passes before it is read: the token, the room, the size and the time of its body."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from moist.errors import UserError
from moist.serve.batching import Batcher
from moist.serve.metrics import Metrics
from moist.serve.refusal import Refusal, error_body
from moist.serve.settings import ServeSettings

try:
    import anyio
except ImportError as error:
    raise UserError("serving needs anyio, which is not installed; pip install 'moist[serve]'") from error

__all__ = ["PREDICT", "Guard", "Scope", "header"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Predict = Callable[[Scope, bytes], "Awaitable[Application | None]"]

PREDICT = "/v1/predict"
# What tells nothing of the model, and what a browser must load before a token can be given.
OPEN = ("/", "/healthz", "/readyz", "/docs", "/openapi.json")
ROUTES = (*OPEN, PREDICT, "/v1/model", "/v1/reload", "/metrics")


class Guard:
    """Middleware in front of the application; a refused request costs next to nothing.

    Args:
        app: what is guarded.
        settings: limits and token.
        batcher: tells whether there is room.
        metrics: counts every request.
        predict: answers the body of a prediction, None where that is left to the application.
    """

    def __init__(
        self, app: Application, settings: ServeSettings, batcher: Batcher, metrics: Metrics, predict: Predict
    ) -> None:
        self._app, self._settings, self._batcher, self._metrics = app, settings, batcher, metrics
        self._predict = predict
        self._token = None if settings.token is None else f"Bearer {settings.token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of HTTP; anything else is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, path = time.perf_counter(), scope["path"]
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._admit(scope, path, receive, noting)
        except Refusal as refusal:
            await _refuse(refusal, noting)
        finally:
            self._metrics.requests.labels(path if path in ROUTES else "other", status).inc()
            if path == PREDICT:
                self._metrics.seconds.observe(time.perf_counter() - started)

    async def _admit(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        self._check_token(scope, path)
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if path == PREDICT:
            self._batcher.check_room()
        body = await self._body(scope, receive)
        answer = await self._predict(scope, body) if path == PREDICT else None
        if answer is not None:
            await answer(scope, receive, send)
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    def _check_token(self, scope: Scope, path: str) -> None:
        if self._token is None or path in OPEN:
            return
        if not hmac.compare_digest(header(scope, b"authorization"), self._token):
            raise Refusal(401, "this server needs its token: send the header Authorization: Bearer TOKEN")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        limit = self._settings.max_body_bytes
        too_large = Refusal(413, f"a request must have at most {limit} bytes; send several smaller ones")
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value[:20]) > limit:
                raise too_large
        try:
            with anyio.fail_after(self._settings.body_timeout):
                return await _read(receive, limit, too_large)
        except TimeoutError:
            seconds = self._settings.body_timeout
            raise Refusal(408, f"the body of a request must arrive within {seconds:g} s; it did not") from None


def header(scope: Scope, wanted: bytes) -> bytes:
    """Return the first header of this name, in lower case; empty where there is none."""
    return next((value for name, value in scope["headers"] if name == wanted), b"")


async def _read(receive: Receive, limit: int, too_large: Refusal) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(408, "the client went away before its request was whole")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise too_large
        if not message.get("more_body"):
            return b"".join(parts)


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = error_body(refusal.message)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    # What is left of the body is not read, so the connection cannot be used again.
    if refusal.status in (408, 413):
        headers["connection"] = "close"
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
