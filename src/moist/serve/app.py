"""The application: routes, the model behind them, and what is started and stopped with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from pydantic import ValidationError

from moist import __version__
from moist.errors import UserError
from moist.progress import say
from moist.runtime import RoutedPrediction
from moist.serve.batching import Batcher
from moist.serve.guard import PREDICT, Guard, Scope, header
from moist.serve.metrics import MEDIA_TYPE, Metrics
from moist.serve.models import ModelHolder, OpenSession, ServedModel
from moist.serve.page import PAGE, PAGE_HEADERS
from moist.serve.reading import Reader, is_light, media_type
from moist.serve.refusal import Refusal, error_body
from moist.serve.schemas import ModelAnswer, PredictAnswer, PredictQuery, Reloaded, State, predict_request, refusals
from moist.serve.settings import ServeSettings

try:
    from fastapi import FastAPI, Request, Response, Security
    from fastapi.responses import HTMLResponse
    from fastapi.security import HTTPBearer
    from starlette.exceptions import HTTPException
except ImportError as error:
    raise UserError("serving needs fastapi, which is not installed; pip install 'moist[serve]'") from error

__all__ = ["create_app"]

NOTHING_ASKED = PredictQuery()
ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
# No media type of its own, so that the errors keep theirs.
PLAIN: dict[str, Any] = {"response_class": Response, "response_model": None}


def create_app(path: str | Path, open_session: OpenSession, settings: ServeSettings | None = None) -> FastAPI:
    """Return the application that serves the model in the folder ``path``.

    Args:
        path: the folder, read again when it changes, on SIGHUP, and on a request to /v1/reload.
        open_session: opens such a folder.
        settings: limits and token.

    Raises:
        UserError: the folder holds no model that can be opened.
    """
    return _Server(Path(path), open_session, settings or ServeSettings()).app


class _Server:
    """The state of one application."""

    def __init__(self, path: Path, open_session: OpenSession, settings: ServeSettings) -> None:
        self.settings, self.metrics = settings, Metrics()
        self.holder = ModelHolder(path, open_session, self._on_reload)
        self.batcher = Batcher(settings.max_batch, settings.max_queue, settings.request_timeout, self.metrics.on_batch)
        self.metrics.waiting.set_function(lambda: self.batcher.waiting)
        self.stopping = False
        self.last_client: Any = None
        self.app = FastAPI(
            title=f"MoIST: {self.holder.current.session.name}",
            version=__version__,
            summary="A routed mixture of small specialists",
            lifespan=self._lifespan,
            redoc_url=None,
        )
        self.app.state.holder = self.holder
        self._add_routes()
        self.app.add_middleware(
            Guard, settings=settings, batcher=self.batcher, metrics=self.metrics, predict=self._predict_body
        )
        handlers: dict[Any, Callable[..., Any]] = {
            Refusal: _answer_refusal,
            HTTPException: _answer_http,
        }
        for kind, handler in handlers.items():
            self.app.add_exception_handler(kind, handler)

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        self.batcher.start()
        watching = None
        if self.settings.watch_seconds:
            watching = asyncio.create_task(self.holder.watch(self.settings.watch_seconds))
        try:
            yield
        finally:
            self.stopping = True
            if watching is not None:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
            await asyncio.get_running_loop().run_in_executor(None, self.batcher.stop)
            self.holder.close()

    def _on_reload(self, outcome: ServedModel | Exception) -> None:
        failed = isinstance(outcome, Exception)
        self.metrics.reloads.labels("failed" if failed else "done").inc()
        if isinstance(outcome, ServedModel):
            say(f"serving version {outcome.version}")
        else:
            say(f"the new model cannot be served, the old one stays: {outcome}")

    def _add_routes(self) -> None:
        app, kind = self.app, self.holder.current.session.kind
        lock = [] if self.settings.token is None else [Security(HTTPBearer(auto_error=False))]
        text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
        app.get("/", response_class=HTMLResponse, include_in_schema=False)(_show_page)
        app.get("/healthz", name="health", response_model=State)(_tell_health)
        app.get("/readyz", name="readiness", response_model=State, responses=refusals(503))(self._tell_readiness)
        locked = app.get("/metrics", name="metrics", responses=text | refusals(401), dependencies=lock, **PLAIN)
        locked(self._tell_metrics)
        app.get("/v1/model", name="model", responses=refusals(401), dependencies=lock, response_model=ModelAnswer)(
            self._tell_model
        )
        app.post(
            "/v1/reload",
            name="reload",
            dependencies=lock,
            response_model=Reloaded,
            responses=refusals(401, 408, 413, 422),
        )(self._reload)
        app.post(
            PREDICT,
            name="predict",
            dependencies=lock,
            response_model=PredictAnswer,
            responses=refusals(401, 408, 413, 415, 422, 503),
            openapi_extra=predict_request(kind),
        )(self._predict)

    async def _tell_readiness(self) -> Response:
        """Whether requests should be sent here: not at the limit, and not about to stop."""
        if self.stopping:
            raise Refusal(503, "the server is stopping", 1)
        self.batcher.check_room()
        return _json({"status": "ready"})

    async def _tell_metrics(self) -> Response:
        """Counts and times, for Prometheus."""
        return Response(self.metrics.text(), headers={"content-type": MEDIA_TYPE})

    async def _tell_model(self) -> Response:
        """What is served: classes, what an input looks like, and the version."""
        model = self.holder.current
        session = model.session
        return _json(
            {
                "name": session.name,
                "version": model.version,
                "kind": session.kind,
                "classes": list(session.classes),
                "num_domains": session.num_domains,
                "input": dict(session.input_schema),
                "loaded_at": model.loaded_at,
            }
        )

    async def _reload(self) -> Response:
        """Load the folder anew; while that is done, and where it fails, the model that is there goes on answering."""
        if not await self.holder.reload():
            raise Refusal(422, "the new model cannot be served, the old one stays; see the server's log")
        return _json({"version": self.holder.current.version, "reloaded": True})

    async def _predict(self, request: Request) -> Response:
        """Classify images, texts or rows of a table, one or many."""
        # Only forms come this far, the guard has had all else answered: the framework takes longer over a request than
        # the model does.
        parts = await self._parts(request)

        async def read(reader: Reader) -> Any:
            return await asyncio.get_running_loop().run_in_executor(None, reader.read_parts, parts)

        return await self._respond(request.scope, read)

    async def _predict_body(self, scope: Scope, body: bytes) -> Response | None:
        """Answer a request whose body is the inputs; None where it is a form."""
        kind = media_type(header(scope, b"content-type").decode("latin-1"))
        if kind == "multipart/form-data":
            return None

        async def read(reader: Reader) -> Any:
            if is_light(kind, body):
                return reader.read(kind, body)
            return await asyncio.get_running_loop().run_in_executor(None, reader.read, kind, body)

        return await self._respond(scope, read)

    async def _respond(self, scope: Scope, read: Callable[[Reader], Awaitable[Any]]) -> Response:
        asked = _read_query(scope["query_string"])
        # Twice in a row the same connection: nobody else asks, so there is nothing to batch with.
        client = scope.get("client")
        alone, self.last_client = client == self.last_client, client
        model = self.holder.current.retain()
        try:
            raw = await read(Reader(model.session, self.settings.max_rows, self.settings.max_pixels))
            if asked.votes and len(raw) != 1:
                raise Refusal(422, f"votes are told of one input at a time, got {len(raw)}; leave votes out")
            answer = await self._run(model, raw, alone=alone)
            polled = await self._run(model, raw, votes=True) if asked.votes else None
        finally:
            model.release()
        self.metrics.on_answer(answer)
        return _json(_document(model, answer, asked.top, polled))

    async def _parts(self, request: Request) -> list[tuple[str, bytes]]:
        most = self.settings.max_rows
        parts = []
        async with request.form(max_files=most, max_fields=most, max_part_size=self.settings.max_body_bytes) as form:
            for _, part in form.multi_items():
                if isinstance(part, str):
                    parts.append(("text/plain", part.encode("utf-8", "surrogatepass")))
                else:
                    parts.append((media_type(part.content_type or ""), await part.read()))
        return parts

    async def _run(self, model: ServedModel, raw: Any, *, votes: bool = False, alone: bool = False) -> Any:
        try:
            if alone and (answer := self.batcher.answer_now(model, raw)) is not None:
                return answer
            return await self.batcher.submit(model, raw, votes=votes)
        except UserError as error:
            raise Refusal(422, str(error)) from None


def _read_query(query: bytes) -> PredictQuery:
    if not query:
        return NOTHING_ASKED
    try:
        return PredictQuery.model_validate(dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("query", *first["loc"]))
        raise Refusal(422, f"{place}: {first['msg']}, got {str(first.get('input'))[:200]}") from None


async def _show_page() -> Response:
    return HTMLResponse(PAGE, headers=PAGE_HEADERS)


async def _tell_health() -> Response:
    """Whether the process is alive."""
    return _json({"status": "ok"})


def _document(
    model: ServedModel, answer: RoutedPrediction, top: int | None, polled: np.ndarray | None
) -> dict[str, Any]:
    classes = model.session.classes
    order_NC = np.argsort(-answer.probabilities, axis=1, kind="stable")[:, :top]
    rows_N1 = np.arange(len(order_NC))[:, None]
    values_NC = answer.probabilities[rows_N1, order_NC].astype(np.float64).round(6)
    facts = zip(
        order_NC.tolist(), values_NC.tolist(), answer.domain.tolist(), answer.deferred.tolist(), answer.macs.tolist()
    )
    predictions = [
        {
            "label": classes[order[0]],
            "probability": values[0],
            "probabilities": {classes[code]: value for code, value in zip(order, values)},
            "domain": domain,
            "deferred": deferred,
            "macs": macs,
        }
        for order, values, domain, deferred, macs in facts
    ]
    document: dict[str, Any] = {"predictions": predictions, "version": model.version}
    if polled is not None:
        document["votes"] = [
            {"domain": k, "label": classes[int(row.argmax())], "probability": round(float(row.max()), 6)}
            for k, row in enumerate(polled)
        ]
    return document


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = ENCODER.encode(value).encode("utf-8", "replace")
    return Response(body, status, headers, "application/json")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return Response(error_body(message), status, headers, "application/json")


async def _answer_refusal(_: Request, refusal: Refusal) -> Response:
    return _error(refusal.status, refusal.message, refusal.headers)


async def _answer_http(_: Request, error: HTTPException) -> Response:
    # A form that cannot be read is the framework's 400; here all that cannot be read is 422.
    status = 422 if error.status_code == 400 else error.status_code
    return _error(status, str(error.detail), dict(error.headers or {}))
