"""A request that is refused: the status, the words, and when to come back."""

from __future__ import annotations

import json

__all__ = ["Refusal", "error_body"]


class Refusal(Exception):
    """Ends a request with an error of HTTP.

    Args:
        status: of HTTP, 4xx; or 503 where the same request may succeed later.
        message: rule, value received, remedy.
        retry_after: whole seconds after which to try again, with 503.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the status."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers


def error_body(message: str) -> bytes:
    """Return the JSON body of every error."""
    return json.dumps({"error": message}).encode()
