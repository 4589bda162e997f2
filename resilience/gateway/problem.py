"""Problems: what the gateway itself answers when it does not forward. RFC 9457.

A body says what happened in one sentence and never holds a traceback, an address
or the text of an exception: what went wrong inside is nobody's business outside.
"""

from __future__ import annotations

import http
import json
import math
from collections.abc import Sequence
from typing import Any

from ..errors import (
    BulkheadFullError,
    CallTimeoutError,
    ChaosError,
    CircuitOpenError,
    RateLimitedError,
    RejectedError,
)
from .upstream import Header, UpstreamError, UpstreamUnreachableError


class Problem(Exception):
    """An answer of the gateway's own.

    Attributes:
        status: HTTP status.
        detail: One sentence for the client.
        headers: Beside those of the body.
        close: Close the connection after it: what follows on it cannot be trusted.
    """

    def __init__(self, status: int, detail: str, *, headers: Sequence[Header] = (), close: bool = False) -> None:
        super().__init__(status, detail)
        self.status, self.detail, self.headers, self.close = status, detail, headers, close

    def response(self) -> tuple[list[Header], bytes]:
        """Headers and body."""
        title = http.HTTPStatus(self.status).phrase
        fields = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        body = json.dumps(fields).encode()
        length = b"%d" % len(body)
        headers = [(b"content-type", b"application/problem+json"), (b"content-length", length), *self.headers]
        if self.close:
            headers.append((b"connection", b"close"))
        return headers, body

    def messages(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The ASGI messages that answer with it."""
        headers, body = self.response()
        start = {"type": "http.response.start", "status": self.status, "headers": headers}
        return start, {"type": "http.response.body", "body": body, "more_body": False}


def problem_of(error: BaseException, service: str) -> Problem:
    """What a client is told when the call of *service* ended with *error*."""
    if isinstance(error, RejectedError):
        retry = [(b"retry-after", b"%d" % max(1, math.ceil(error.retry_after or 0)))]
        if isinstance(error, RateLimitedError):
            return Problem(429, f"{service}: too many requests", headers=retry)
        if isinstance(error, CircuitOpenError):
            return Problem(503, f"{service} is failing and is given time to recover", headers=retry)
        why = "has too many requests under way" if isinstance(error, BulkheadFullError) else "takes no requests now"
        return Problem(503, f"{service} {why}", headers=retry)
    if isinstance(error, CallTimeoutError):
        return Problem(504, f"{service} did not answer in time")
    if isinstance(error, UpstreamUnreachableError):
        return Problem(502, f"{service} cannot be reached")
    if isinstance(error, (UpstreamError, ChaosError)):  # chaos is to look like a fault of the service
        return Problem(502, f"{service} gave no valid answer")
    return Problem(500, "the gateway failed")


def too_large(max_body: int) -> Problem:
    """What a client is told whose request's body has more than *max_body* bytes."""
    return Problem(413, f"the body is larger than {max_body} bytes", close=True)
