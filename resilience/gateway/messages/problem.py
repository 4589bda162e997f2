"""Problems: what the gateway itself answers when it does not forward. RFC 9457.

Refusals and timeouts are answered by the table in core.http_problem; the rest is about upstreams.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...core.http_problem import prepared_body, told_of
from ...errors import BulkheadFullError, ChaosError, CircuitOpenError, RateLimitedError, ThrottledError
from .exchange import Header, UpstreamError, UpstreamLateError, UpstreamUnreachableError

#: Why the gateway answers by itself, for logs and statistics, where only the status is known.
_REASONS: Final[Mapping[int, str]] = {
    400: "bad_request", 401: "unauthenticated", 403: "forbidden", 404: "no_route", 405: "method_not_allowed",
    408: "slow_body", 413: "body_too_large", 414: "target_too_long", 417: "bad_expectation", 429: "rate_limited",
    431: "head_too_large", 500: "gateway_failed", 501: "not_implemented", 502: "invalid_answer", 503: "refused",
    504: "timeout", 505: "version_not_supported"}
_REFUSALS: Final = ((CircuitOpenError, "circuit_open"), (BulkheadFullError, "full"), (RateLimitedError, "rate_limited"),
                    (ThrottledError, "throttled"), (UpstreamUnreachableError, "unreachable"))


class Problem(Exception):
    """An answer of the gateway's own.

    Attributes:
        status: HTTP status.
        detail: One sentence for the client.
        headers: Beside those of the body.
        close: Close the connection after it: what follows on it cannot be trusted.
        reason: One word for logs and statistics; None: it refuses nothing.
    """

    reason: str | None

    def __init__(self, status: int, detail: str, *, headers: Sequence[Header] = (), close: bool = False,
                 reason: str | None = None) -> None:
        super().__init__(status, detail)
        self.status, self.detail, self.headers, self.close = status, detail, headers, close
        self.reason = reason_of(status) if reason is None else reason

    def response(self) -> tuple[list[Header], bytes]:
        """Headers and body."""
        body = prepared_body(self.status, self.detail)
        length = b"%d" % len(body)
        headers = [(b"content-type", b"application/problem+json"), (b"content-length", length), *self.headers]
        if self.close:
            headers.append((b"connection", b"close"))
        return headers, body


class ServerOptions(Problem):
    """The answer to ``OPTIONS *``, which asks whether the server is there (RFC 9110, 9.3.7), and has no body."""

    def __init__(self) -> None:
        super().__init__(200, "the gateway is there")
        self.reason = None

    def response(self) -> tuple[list[Header], bytes]:
        """Headers and body."""
        return [(b"content-length", b"0")], b""


class ReplacedAnswer(Problem):
    """An answer of a service in whose place a fallback answers, whatever its status is.

    Attributes:
        answer: Its status, headers and body, to be given if there is no fallback in the end; None: they are lost.
    """

    def __init__(self, status: int, detail: str, answer: tuple[int, list[Header], bytes] | None = None) -> None:
        super().__init__(status, detail, reason="replaced")
        self.answer = answer


def reason_of(status: int) -> str:
    """One word for why the gateway answers with *status* by itself."""
    return _REASONS.get(status, "refused")


def problem_of(error: BaseException, service: str) -> Problem:
    """What a client is told when the call of *service* ended with *error*."""
    kind: Any = type(error)
    reason = _reason_of(kind)
    told = told_of(error, service)
    if told is not None:
        status, detail, wait_s, _ = told
        headers = () if status == 504 else [(b"retry-after", b"%d" % (wait_s or 1))]
        return Problem(status, detail, headers=headers, reason=reason)
    if isinstance(error, UpstreamLateError):
        return Problem(504, f"{service} did not answer in time", reason="timeout")
    if isinstance(error, UpstreamUnreachableError):
        return Problem(502, f"{service} cannot be reached", reason=reason)
    if isinstance(error, (UpstreamError, ChaosError)):  # chaos is to look like a fault of the service
        return Problem(502, f"{service} gave no valid answer")
    return Problem(500, "the gateway failed")


@functools.lru_cache(maxsize=256)
def _reason_of(kind: type[BaseException]) -> str | None:
    return next((word for each, word in _REFUSALS if issubclass(kind, each)), None)


def too_large(max_body: int) -> Problem:
    """What a client is told whose request's body has more than *max_body* bytes."""
    return Problem(413, f"the body is larger than {max_body} bytes", close=True)
