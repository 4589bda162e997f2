"""Request heads: the first lines of a request to an upstream, as HTTP/1.1 writes them. Pure."""

from __future__ import annotations

from typing import Final

from ..messages.exchange import Endpoint, InvalidRequestError, Request

_CONTROLS: Final = bytes([*range(9), *range(10, 32), 127])  # all but the tab


def request_head(endpoint: Endpoint, request: Request) -> bytes:
    """The head of *request*, as it goes over the wire to *endpoint*.

    Raises:
        InvalidRequestError: A header would break out of its line, or has a character that none may have.
    """
    lines = [b"%b %b HTTP/1.1\r\nhost: %b" % (
        request.method.encode(), request.target, request.host or endpoint.authority)]
    lines += map(b": ".join, request.headers)
    if request.upgrade:
        lines.append(b"connection: upgrade\r\nupgrade: " + b", ".join(request.upgrade))
    length = request.length
    if length is None:
        lines.append(b"transfer-encoding: chunked")
    elif length or request.method in ("POST", "PUT", "PATCH"):
        lines.append(b"content-length: %d" % length)
    head = b"\r\n".join(lines)
    breaks = len(lines) + bool(request.upgrade)  # between the lines, and no others
    if len(head) - len(head.translate(None, _CONTROLS)) != 2 * breaks:
        raise InvalidRequestError("a header has a line break or another control character in it")
    return head + b"\r\n\r\n"
