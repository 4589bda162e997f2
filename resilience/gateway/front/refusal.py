"""Refusals: why a front answers a request by itself, with HTTP/1.1 and with HTTP/2 alike. Pure."""

from __future__ import annotations

from typing import Final

from ..messages.exchange import Header
from ..messages.grpc_status import answer_of
from ..messages.inbound import RequestHead
from ..messages.problem import Problem, reason_of


class Refusal:
    """Why no more is read of a connection, or a request is answered without being served. Not to be changed.

    Attributes:
        status: HTTP status.
        detail: One sentence for the client.
        retry_after_s: Whole seconds after which the client may ask again; 0: not said.
        reason: One word for logs.
    """

    __slots__ = ("detail", "reason", "retry_after_s", "status")

    def __init__(self, status: int, detail: str, retry_after_s: int = 0, *, reason: str | None = None) -> None:
        self.status, self.detail, self.retry_after_s = status, detail, retry_after_s
        self.reason = reason_of(status) if reason is None else reason

    def answer(self, head: RequestHead, *, close: bool) -> tuple[int, list[Header], bytes]:
        """Status, headers and body of the answer.

        Args:
            head: Of the request.
            close: Whether the answer says that it is the connection's last.
        """
        after = [(b"retry-after", b"%d" % self.retry_after_s)] if self.retry_after_s else []
        return answer_of(Problem(self.status, self.detail, headers=after, close=close), head)


MAX_TARGET_BYTES: Final = 16 * 1024
TARGET_TOO_LONG: Final = Refusal(414, "the request's target is too long")
HEAD_TOO_LARGE: Final = Refusal(431, "the request's headers are too large, or too many")
NO_TUNNELS: Final = Refusal(501, "this is no proxy that opens tunnels")
SHUTTING_DOWN: Final = Refusal(503, "the gateway is shutting down")
SLOW_HEAD: Final = Refusal(408, "the request's head did not come in time", reason="slow_head")
TOO_MANY_CONNECTIONS: Final = Refusal(429, "this address has too many connections", 1, reason="too_many_connections")
