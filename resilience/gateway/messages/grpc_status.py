"""gRPC: its status, which stands in trailers, and what it amounts to in HTTP and back. Pure.

A gRPC client takes an answer of any other kind for a failure that it can say little about. So the gateway's own
refusals are answers of gRPC without messages ("trailers-only"), and an answer that breaks off ends with a status.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote_from_bytes

from ...core.http_status import GRPC
from .exchange import Exchange, Header, Request, UpstreamStatusError
from .inbound import RequestHead
from .named_values import header_value
from .problem import Problem

_NAMES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED")
#: What a refusal with an HTTP status is in gRPC; any other is UNKNOWN.
_OF_HTTP: Final = {
    400: "INTERNAL", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "UNIMPLEMENTED", 405: "UNIMPLEMENTED",
    408: "CANCELLED", 413: "RESOURCE_EXHAUSTED", 429: "RESOURCE_EXHAUSTED", 431: "RESOURCE_EXHAUSTED",
    500: "INTERNAL", 501: "UNIMPLEMENTED", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
_TYPE: Final = b"application/grpc"
_LEGIBLE: Final = bytes(each for each in range(0x20, 0x7F) if each != 0x25).decode()


class GrpcStatusError(UpstreamStatusError):
    """The upstream answered with a gRPC status that the service's failure rules name, by its HTTP mapping.

    Attributes:
        name: Of the gRPC status.
    """

    def __init__(self, name: str, headers: Iterable[Header]) -> None:
        super().__init__(GRPC[name], headers)
        self.name = name

    def __str__(self) -> str:
        return f"gRPC status {self.name}"


def is_grpc(head: RequestHead) -> bool:
    """Whether a gRPC client has sent this."""
    return head.version == "2" and any(
        name == b"content-type" and value.startswith(_TYPE) and value[len(_TYPE):][:1] in (b"", b"+", b";")
        for name, value in head.headers)


def status_of_answer(request: Request, exchange: Exchange) -> GrpcStatusError | None:
    """What the gRPC status of an answer that has come amounts to; None: it has none, or it is well.

    DEADLINE_EXCEEDED says nothing of an endpoint if the client has set the deadline itself.
    """
    told = header_value((*exchange.trailers, *exchange.headers), b"grpc-status")
    if told is None or told == b"0" or not told.isdigit() or len(told) > 2 or int(told) >= len(_NAMES):
        return None
    name = _NAMES[int(told)]
    if name == "DEADLINE_EXCEEDED" and any(header[0] == b"grpc-timeout" for header in request.headers):
        return None
    return GrpcStatusError(name, (*exchange.trailers, *exchange.headers))


def trailers_for(status: int, detail: str) -> list[Header]:
    """The trailers that say what an HTTP *status* would say."""
    code = _NAMES.index(_OF_HTTP.get(status, "UNKNOWN"))
    return [(b"grpc-status", b"%d" % code),
            (b"grpc-message", quote_from_bytes(detail.encode(), safe=_LEGIBLE).encode())]


def answer_of(problem: Problem, head: RequestHead) -> tuple[int, list[Header], bytes]:
    """Status, headers and body of the answer to a request that ended with a *problem*, in the words of its client.

    Args:
        problem: Says what is wrong.
        head: Of the request.
    """
    if is_grpc(head):
        return refusal(problem.status, problem.detail, problem.headers)
    return problem.status, *problem.response()


def refusal(status: int, detail: str, headers: Sequence[Header]) -> tuple[int, list[Header], bytes]:
    """Status, headers and body of the answer to a gRPC client in the place of one with this HTTP *status*.

    Args:
        status: Of the gateway's own answer.
        detail: What it says.
        headers: Of it; of them, Retry-After is told as gRPC tells it (proposal A6).
    """
    wait = next((value for name, value in headers if name == b"retry-after" and value.isdigit()), None)
    pushback = [] if wait is None else [(b"grpc-retry-pushback-ms", wait + b"000")]
    return 200, [(b"content-type", _TYPE), *trailers_for(status, detail), *pushback], b""
