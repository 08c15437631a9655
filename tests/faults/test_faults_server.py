"""The server, driven by its own OpenAPI schema: whatever comes, no 5xx, and every answer is as the schema says."""

import contextlib
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.errors import Unsatisfiable
from scale import SCALE

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis: pip install schemathesis")
openapi_checks = pytest.importorskip("schemathesis.specs.openapi.checks")
sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))

from serving import Server  # noqa: E402

from moist.export import export_bundle  # noqa: E402
from moist.runtime import RoutedSession  # noqa: E402
from moist.serve import ServeSettings  # noqa: E402

CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.response_headers_conformance,
]


@pytest.fixture(params=["digits_bundle", "text_bundle", "table_bundle"])
def server(request):
    bundle = request.getfixturevalue(request.param)
    export_bundle(bundle)
    limits = ServeSettings(watch_seconds=0, max_rows=8, max_body_bytes=100_000, max_pixels=100_000)
    running = Server(bundle, RoutedSession, limits)
    yield running
    running.stop()


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_operation(server, mode):
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    tried = []
    for found in schema.get_all_operations():
        operation = found.ok()
        try_operation(operation, mode, tried)
    wanted = {"GET /healthz", "GET /v1/model", "GET /metrics", "POST /v1/predict"} if mode == "positive" else set()
    assert wanted | {"POST /v1/predict"} <= set(tried)
    assert server.ask("GET", "/readyz")[0] == 200


def try_operation(operation, mode, tried):
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    @settings(max_examples=60 * SCALE if operation.path == "/v1/predict" else 5)
    def try_case(case):
        response = case.call()
        tried.append(operation.label)
        assert response.status_code < 500, response.text
        case.validate_response(response, checks=CHECKS)

    # Nothing can be wrong with an operation that takes nothing.
    with contextlib.suppress(Unsatisfiable):
        try_case()
