"""How a server listens, what it accepts, and when it refuses."""

from __future__ import annotations

from pydantic import Field

from moist.config import Settings

__all__ = ["ServeSettings"]


class ServeSettings(Settings):
    """Limits of one server process; every one of them keeps a single client from taking the whole of it."""

    token: str | None = Field(None, min_length=1, description="a bearer token that every prediction must carry")
    max_body_bytes: int = Field(16 * 1024**2, ge=1, description="largest request; a larger one is refused with 413")
    max_rows: int = Field(1024, ge=1, description="most inputs in one request; more are refused with 413")
    max_pixels: int = Field(16_000_000, ge=1, description="largest picture that is decoded")
    max_batch: int = Field(64, ge=1, description="most inputs that run at once; only those that wait already")
    max_queue: int = Field(512, ge=1, description="inputs that may wait; beyond it requests are refused with 503")
    request_timeout: float = Field(30.0, gt=0, description="seconds that a request may wait for its turn; then 503")
    body_timeout: float = Field(10.0, gt=0, description="seconds in which the body of a request must arrive; then 408")
    shutdown_timeout: float = Field(30.0, gt=0, description="seconds that a stopping server gives what is in flight")
    watch_seconds: float = Field(2.0, ge=0, description="how often the folder is looked at for a new model; 0: never")
