"""Problems: what the gateway itself answers when it does not forward. RFC 9457.

Refusals and timeouts are answered by the table in core.http_problem; the rest is about upstreams.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.http_problem import http_problem, prepared_body
from ..errors import ChaosError
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
        body = prepared_body(self.status, self.detail)
        length = b"%d" % len(body)
        headers = [(b"content-type", b"application/problem+json"), (b"content-length", length), *self.headers]
        if self.close:
            headers.append((b"connection", b"close"))
        return headers, body


def problem_of(error: BaseException, service: str) -> Problem:
    """What a client is told when the call of *service* ended with *error*."""
    told = http_problem(error, service)
    if told is not None:
        wait = b"%d" % (told.retry_after_s or 1)
        return Problem(told.status, told.detail, headers=() if told.status == 504 else [(b"retry-after", wait)])
    if isinstance(error, UpstreamUnreachableError):
        return Problem(502, f"{service} cannot be reached")
    if isinstance(error, (UpstreamError, ChaosError)):  # chaos is to look like a fault of the service
        return Problem(502, f"{service} gave no valid answer")
    return Problem(500, "the gateway failed")


def too_large(max_body: int) -> Problem:
    """What a client is told whose request's body has more than *max_body* bytes."""
    return Problem(413, f"the body is larger than {max_body} bytes", close=True)
