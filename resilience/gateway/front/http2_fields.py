"""Field sections of HTTP/2: what a request's says, and what an answer's may say. Pure.

h2 decodes them and knows the order of frames. Whether their content may stand in a request is decided here and not by
h2, which ends the whole connection over one malformed request; a stream error is enough (RFC 9113, 8.1.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from ..inbound import HopRequest, RequestHead
from ..trailers import passing
from ..upstream import Header
from .accepted import Accepted
from .answer import InvalidAnswerError
from .parser import MAX_TARGET_BYTES, Refusal

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}").fullmatch
_VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?").fullmatch
_TARGET: Final = re.compile(rb"/[\x21-\x7e\x80-\xff]*|\*").fullmatch
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
#: RFC 9113, 8.2.2: what concerns one connection is said in frames.
_OF_CONNECTIONS: Final = frozenset({
    b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"http2-settings"})
_ANSWER_DROPS: Final = _OF_CONNECTIONS | {b"date", b"content-length"}


class MalformedError(Exception):
    """A request that is none: its stream is reset, and nobody answers it."""


class Http2Request:
    """What a field section says.

    Attributes:
        head: See RequestHead.
        hop: What the client asks of its connection; None: nothing.
        expects_continue: Whether the client waits for 100 before it sends its body.
        refusal: What to answer instead of serving it; None: serve it.
    """

    __slots__ = ("expects_continue", "head", "hop", "refusal")

    def __init__(self, head: RequestHead, refusal: Refusal | None) -> None:
        self.head, self.refusal = head, refusal
        self.hop: HopRequest | None = None
        self.expects_continue = False


class RequestReader:
    """Reads the requests of one connection."""

    def __init__(self, accepted: Accepted, *, max_head_bytes: int, max_headers: int) -> None:
        self._accepted = accepted
        self._max_head_bytes, self._max_headers = max_head_bytes, max_headers

    def request(self, fields: Iterable[Header], *, ended: bool) -> Http2Request:
        """The request in a field section.

        Args:
            fields: As they came, cookies joined.
            ended: Whether no body follows.

        Raises:
            MalformedError: It is none.
        """
        pseudo, headers = _told_apart(fields)
        refusal = None
        method = pseudo.get(b":method", b"")
        if not _TOKEN(method):
            raise MalformedError
        if method == b"CONNECT":
            refusal = Refusal(501, "this is no proxy that opens tunnels")
            pseudo.setdefault(b":path", b"*")
        elif pseudo.get(b":scheme") not in (b"http", b"https") or not _TARGET(pseudo.get(b":path", b"")):
            raise MalformedError
        headers, differs = _with_host(pseudo.get(b":authority"), headers)
        if differs:
            refusal = Refusal(400, "the request has a Host other than its :authority")
        target = pseudo[b":path"]
        if len(target) > MAX_TARGET_BYTES:
            refusal = Refusal(414, "the request's target is too long")
        elif len(headers) > self._max_headers or _size(target, headers) > self._max_head_bytes:
            refusal = Refusal(431, "the request's headers are too large, or too many")
        path, _, query = target.partition(b"?")
        names = {name for name, _ in headers}
        accepted = self._accepted
        head = RequestHead(
            method.decode(), path, query, "2", accepted.scheme, headers, accepted.client, accepted.server,
            accepted.certificate, unsized=not ended and b"content-length" not in names)
        request = Http2Request(head, refusal)
        if b"te" in names:  # which can only be "trailers"
            request.hop = HopRequest((), True)
        if b"expect" in names:
            request.expects_continue = (b"expect", b"100-continue") in [(n, v.lower()) for n, v in headers]
        return request


def _told_apart(fields: Iterable[Header]) -> tuple[dict[bytes, bytes], list[Header]]:
    """Pseudo-header fields and the others."""
    pseudo: dict[bytes, bytes] = {}
    headers: list[Header] = []
    for name, value in fields:
        if name[:1] == b":":
            if headers or name in pseudo or name not in _PSEUDO or not _VALUE(value):
                raise MalformedError
            pseudo[bytes(name)] = bytes(value)
        else:
            headers.append(_checked(name, value))
    return pseudo, headers


def _checked(name: bytes, value: bytes) -> Header:
    if not _NAME(name) or not _VALUE(value) or name in _OF_CONNECTIONS:
        raise MalformedError
    if name == b"te" and value.lower() != b"trailers":
        raise MalformedError
    return bytes(name), bytes(value)


def _with_host(authority: bytes | None, headers: list[Header]) -> tuple[list[Header], bool]:
    """The headers with the authority as their only Host, and whether they have another one."""
    if authority is None:
        return headers, False
    differs = any(name == b"host" and value.lower() != authority.lower() for name, value in headers)
    return [(b"host", authority), *(header for header in headers if header[0] != b"host")], differs


def _size(target: bytes, headers: Sequence[Header]) -> int:
    return len(target) + sum(len(name) + len(value) + 4 for name, value in headers)  # as HTTP/1.1 would have it


def trailers_of(fields: Iterable[Header]) -> list[Header]:
    """The trailers in a field section.

    Raises:
        MalformedError: They are none.
    """
    return [_checked(name, value) for name, value in fields]


def answer_fields(status: int, headers: Sequence[Header], date: bytes) -> tuple[list[Header], int | None]:
    """The field section of an answer without its length, and that length, if *headers* say it.

    Raises:
        InvalidAnswerError: A header cannot be sent, or there is no such status.
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
            length = int(value)
    fields.append(_sendable(b"date", date))
    return fields, length


def _sendable(name: bytes, value: bytes) -> Header:
    if not _VALUE(value):
        value = value.strip(b" \t")
        if b"\r" in value or b"\n" in value or b"\0" in value:
            raise InvalidAnswerError
    if not _NAME(name):
        name = name.lower()
        if not _NAME(name):
            raise InvalidAnswerError
    return name, value


def interim_fields(status: int, headers: Sequence[Header]) -> list[Header]:
    """The field section of an interim response; empty if it cannot be sent."""
    try:
        return [(b":status", b"%d" % status),
                *(_sendable(*header) for header in headers if header[0] not in _ANSWER_DROPS)]
    except InvalidAnswerError:
        return []


def trailer_fields(trailers: Iterable[Header]) -> list[Header]:
    """Those of *trailers* that may pass, and can be sent."""
    return [header for header in passing(trailers) if _NAME(header[0]) and _VALUE(header[1])]
