"""Field sections of HTTP/2: what a client's request says, and what an answer to it may say. Pure."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Sequence
from typing import Final

from ..http2.fields import OF_CONNECTIONS, MalformedError, sendable, told_apart
from ..messages.exchange import Header
from ..messages.headers import size_of
from ..messages.inbound import HopRequest, StreamHead
from .accepted import Accepted
from .answer import InvalidAnswerError, said_length
from .refusal import HEAD_TOO_LARGE, MAX_TARGET_BYTES, NO_TUNNELS, TARGET_TOO_LONG, Refusal

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}").fullmatch
_TARGET: Final = re.compile(rb"/[\x21-\x7e\x80-\xff]*|\*").fullmatch
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority", b":protocol"})
_KEY: Final = b"sec-websocket-key"
_ANSWER_DROPS: Final = OF_CONNECTIONS | {b"date", b"content-length"}


class Http2Request:
    """What a field section says.

    Attributes:
        head: See StreamHead.
        hop: What the client asks of its connection; None: nothing.
        expects_continue: Whether the client waits for 100 before it sends its body.
        refusal: What to answer instead of serving it; None: serve it.
        key: The Sec-WebSocket-Key of a request that is to open a WebSocket; empty: it is another request.
    """

    __slots__ = ("expects_continue", "head", "hop", "key", "refusal")

    def __init__(self, head: StreamHead, refusal: Refusal | None) -> None:
        self.head, self.refusal = head, refusal
        self.hop: HopRequest | None = None
        self.expects_continue = False
        self.key = b""


class RequestReader:
    """Reads the requests of one connection."""

    def __init__(self, accepted: Accepted, *, max_head_bytes: int, max_headers: int) -> None:
        self._accepted = accepted
        self._max_head_bytes, self._max_headers = max_head_bytes, max_headers

    def request(self, fields: Iterable[Header], *, ended: bool) -> Http2Request:
        """The request in a field section.

        Args:
            fields: As they came.
            ended: Whether no body follows.

        Raises:
            MalformedError: It is none.
        """
        pseudo, headers = told_apart(fields, _PSEUDO)
        refusal: Refusal | None = None
        method, protocol = pseudo.get(b":method", b""), pseudo.get(b":protocol")
        if not _TOKEN(method) or (protocol is not None and method != b"CONNECT"):
            raise MalformedError
        if method == b"CONNECT" and protocol is None:
            refusal = NO_TUNNELS
            pseudo.setdefault(b":path", b"*")
        elif pseudo.get(b":scheme") not in (b"http", b"https") or not _TARGET(pseudo.get(b":path", b"")):
            raise MalformedError
        headers, differs = _with_host(pseudo.get(b":authority"), headers)
        if differs:
            refusal = Refusal(400, "the request has a Host other than its :authority")
        headers, target = _with_one_cookie(headers), pseudo[b":path"]
        if len(target) > MAX_TARGET_BYTES:
            refusal = TARGET_TOO_LONG
        elif len(headers) > self._max_headers or len(target) + size_of(headers) > self._max_head_bytes:
            refusal = HEAD_TOO_LARGE
        path, _, query = target.partition(b"?")
        names = {name for name, _ in headers}
        accepted = self._accepted
        head = StreamHead(
            method.decode(), path, query, "2", accepted.scheme, headers, accepted.client, accepted.server,
            accepted.certificate, unsized=not ended and b"content-length" not in names)
        request = Http2Request(head, refusal)
        if b"te" in names:
            request.hop = _of_te(headers)
        if b"expect" in names:
            request.expects_continue = (b"expect", b"100-continue") in [(n, v.lower()) for n, v in headers]
        if protocol is not None:
            _open(request, protocol)
        return request


def _of_te(headers: Iterable[Header]) -> HopRequest:
    if any(name == b"te" and value.lower() != b"trailers" for name, value in headers):
        raise MalformedError  # there is nothing else that it can say
    return HopRequest((), True)


def _open(request: Http2Request, protocol: bytes) -> None:
    """Make of a *request* by extended CONNECT (RFC 8441) the one that opens a WebSocket in HTTP/1.1.

    Raises:
        MalformedError: It says that it has a body.
    """
    head, hop = request.head, request.hop
    if any(name == b"content-length" for name, _ in head.headers):
        raise MalformedError
    if protocol.lower() != b"websocket":
        request.refusal = request.refusal or Refusal(501, "there are no tunnels here but WebSockets")
        return
    request.key = base64.b64encode(os.urandom(16))
    request.hop = HopRequest((b"websocket",), hop is not None and hop.takes_trailers)
    head.method, head.unsized = "GET", False
    head.headers = [*(header for header in head.headers if header[0] != _KEY), (_KEY, request.key)]


def _with_one_cookie(headers: list[Header]) -> list[Header]:
    """The headers with all cookies in one, as HTTP/1.1 has them (RFC 9113, 8.2.3); some may be empty."""
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) < 2:
        return headers
    return [*(header for header in headers if header[0] != b"cookie"), (b"cookie", b"; ".join(filter(None, cookies)))]


def _with_host(authority: bytes | None, headers: list[Header]) -> tuple[list[Header], bool]:
    """The headers with the authority as their only Host, and whether they have another one."""
    if authority is None:
        return headers, False
    differs = any(name == b"host" and value.lower() != authority.lower() for name, value in headers)
    return [(b"host", authority), *(header for header in headers if header[0] != b"host")], differs


def answer_fields(status: int, headers: Sequence[Header], date: bytes) -> tuple[list[Header], int | None]:
    """The field section of an answer without its length, and that length, if *headers* say it.

    Raises:
        InvalidAnswerError: A header cannot be sent, the length is none, or there is no such status.
    """
    if not 200 <= status <= 999:
        raise InvalidAnswerError
    length = None
    fields = [(b":status", b"%d" % status)]
    for header in headers:
        name, value = header
        if name not in _ANSWER_DROPS:
            fields.append(_sendable(name, value))
        elif name == b"date":
            date = value
        elif name == b"content-length":
            length = said_length(value)
    fields.append(_sendable(b"date", date))
    return fields, length


def _sendable(name: bytes, value: bytes) -> Header:
    header = sendable(name, value)
    if header is None:
        raise InvalidAnswerError
    return header


def interim_fields(status: int, headers: Sequence[Header]) -> list[Header]:
    """The field section of an interim response; empty if it cannot be sent."""
    try:
        return [(b":status", b"%d" % status),
                *(_sendable(*header) for header in headers if header[0] not in _ANSWER_DROPS)]
    except InvalidAnswerError:
        return []
