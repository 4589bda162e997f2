"""What a request to an upstream says in a field section, and what its answer's says. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..http2.fields import OF_CONNECTIONS, MalformedError, sendable, told_apart
from ..messages.exchange import Endpoint, Header, InvalidRequestError, Request
from ..messages.framing import BODILESS, length_of
from ..messages.headers import size_of

MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_HEADERS: Final = 1000
MAX_TRAILERS: Final = 100
_STATUS: Final = frozenset({b":status"})
_LENGTH: Final = b"content-length"
_WITH_BODY: Final = ("POST", "PUT", "PATCH")


def request_fields(endpoint: Endpoint, request: Request) -> list[Header]:
    """The field section of a request.

    Raises:
        InvalidRequestError: A header cannot be sent.
    """
    fields = [
        (b":method", request.method.encode()), (b":scheme", b"https" if endpoint.tls is not None else b"http"),
        (b":authority", request.host or endpoint.authority), (b":path", request.target)]
    for name, value in request.headers:
        if name in OF_CONNECTIONS:
            continue
        field = sendable(name, value)
        if field is None:
            raise InvalidRequestError("a header has a line break or another control character in it")
        fields.append(field)
    if request.length is not None and (request.length or request.method in _WITH_BODY):
        fields.append((_LENGTH, b"%d" % request.length))
    return fields


def answer_of(fields: Iterable[Header]) -> tuple[int, list[Header]]:
    """Status and headers of an answer.

    Raises:
        MalformedError: It is none, or its head is too large.
    """
    pseudo, headers = told_apart(fields, _STATUS)
    status = pseudo.get(b":status", b"")
    if len(status) != 3 or not status.isdigit() or not b"100" <= status <= b"599" or status == b"101":
        raise MalformedError
    if len(headers) > _MAX_HEADERS or size_of(headers) > MAX_HEAD_BYTES:
        raise MalformedError
    lengths = {value for name, value in headers if name == _LENGTH}
    if lengths and (len(lengths) > 1 or length_of(*lengths) is None):  # h2 does not look at those of answers to HEAD
        raise MalformedError
    return int(status), headers


def due_of(method: str, status: int, headers: Iterable[Header]) -> int | None:
    """How long the body of an answer must be, as its head says; None: that says nothing."""
    if method == "HEAD" or status in BODILESS:
        return None
    return next((length_of(value) for name, value in headers if name == _LENGTH), None)
