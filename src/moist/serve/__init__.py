"""A mixture over HTTP: adaptive batching, limits, metrics, hot reload, and a small page to try it."""

from moist.serve.app import create_app
from moist.serve.running import serve
from moist.serve.settings import ServeSettings

__all__ = ["ServeSettings", "create_app", "serve"]
