"""Answers: the head of a response as bytes, with framing of our own. Pure.

What the headers say of framing and of the connection is read and left out; the connection writes it anew, from what
it knows: the length, whether the client understands chunks, and whether the connection is kept.
"""

from __future__ import annotations

import http
from collections.abc import Sequence
from typing import Final

from ..messages.exchange import Header
from ..messages.framing import length_of

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS: Final = {each.value: f"HTTP/1.1 {each.value} {each.phrase}".encode() for each in http.HTTPStatus}
_line: Final = b": ".join  # faster than formatting
_OURS: Final = frozenset({b"content-length", b"connection", b"transfer-encoding", b"keep-alive", b"date"})


class InvalidAnswerError(Exception):
    """A header would break out of its line, the length is none, or there is no such status."""


class AnswerHead:
    """The lines of a response's head, without framing.

    Attributes:
        lines: Status line and headers, without their line ends.
        length: What Content-Length said; None: there was none.
        close: Whether the connection is to be closed after it.
        upgrades: Whether it names protocols to switch to.
    """

    __slots__ = ("close", "length", "lines", "upgrades")

    def __init__(self, status: int, headers: Sequence[Header], date: bytes) -> None:
        """Read the *headers*, and add the *date* unless they have one.

        Raises:
            InvalidAnswerError: See there.
        """
        lines = [_STATUS.get(status) or _status_line(status)]
        self.length: int | None = None
        self.close = False
        self.upgrades = status == 426 and any(name == b"upgrade" for name, _ in headers)
        for header in headers:
            name = header[0]
            if name not in _OURS:
                lines.append(_line(header))
            elif name == b"date":
                date = header[1]
            elif name == b"content-length":
                self.length = said_length(header[1])
            elif name == b"connection" and b"close" in header[1].lower():
                self.close = True
        lines.append(b"date: " + date)
        self.lines = lines

    def bytes(self, framing: bytes, body: bytes = b"") -> bytes:
        """The head, with these lines about *framing* and the connection at its end, and the *body* behind it.

        Raises:
            InvalidAnswerError: A header would break out of its line.
        """
        lines = self.lines
        head = b"\r\n".join(lines)
        if len(head) - len(head.translate(None, b"\r\n\0")) != 2 * len(lines) - 2:  # between the lines, and no others
            raise InvalidAnswerError
        return b"%b\r\n%b\r\n%b" % (head, framing, body)


def said_length(value: bytes) -> int:
    """What the Content-Length of an answer says.

    Raises:
        InvalidAnswerError: It is none.
    """
    length = length_of(value)
    if length is None:
        raise InvalidAnswerError
    return length


def _status_line(status: int) -> bytes:
    if not 100 <= status <= 999:
        raise InvalidAnswerError
    return b"HTTP/1.1 %d " % status


def interim_bytes(status: int, headers: Sequence[Header]) -> bytes:
    """An interim response; empty if it cannot be written."""
    lines = [_STATUS.get(status) or _status_line(status), *map(_line, headers)]
    head = b"\r\n".join(lines)
    return head + b"\r\n\r\n" if head.count(b"\n") == head.count(b"\r") == len(lines) - 1 else b""
