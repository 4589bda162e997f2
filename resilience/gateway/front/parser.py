"""Requests out of the bytes of one connection: llhttp (httptools), and what it lets pass refused on top. Pure.

llhttp, as httptools sets it up, refuses bare line feeds and carriage returns, folded lines, control characters, a
Content-Length beside a Transfer-Encoding or twice, sizes that are no plain numbers, and bytes after a request that
closes its connection. What it does not look at is looked at here:

    the request line     a version that HTTP/1.1 does not answer    505; 400 for HTTP/0.9
                         longer than MAX_TARGET_BYTES               414
    the head             more bytes, or more headers, than may be   431
    chunks               extensions and trailers without end        400
    the method           a token that llhttp does not know passes, unless it comes behind another request: 501;
                         what is no token is 400

A request that would like to switch protocols and has a body keeps its protocol, as RFC 9110, 7.8 allows. httptools
takes what follows its head for bytes of the other protocol; the body would be read as the next request.

An error ends the connection: what follows it is never read.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import httptools

from ..messages.exchange import Header, Piece
from ..messages.framing import FIELDS, large_rest
from ..messages.headers import size_of
from ..messages.inbound import HopRequest, RequestHead
from .accepted import Accepted
from .refusal import HEAD_TOO_LARGE, MAX_TARGET_BYTES, NO_TUNNELS, TARGET_TOO_LONG, Refusal

MAX_TRAILERS: Final = 100
#: Bytes of a chunked body that are no data, beyond _PER_CHUNK for each piece of data.
MAX_CHUNK_EXCESS: Final = 16 * 1024
_PER_CHUNK: Final = 32
#: Requests that one read may bring beyond the one under way.
MAX_PIPELINED: Final = 64

_VERSION: Final = Refusal(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
_OTHER_VERSION: Final = "Invalid HTTP version"  # llhttp's words for one that it does not know

#: What llhttp knows as methods of HTTP. Any other token is parsed in the disguise of a method with the same framing.
_PARSED: Final = frozenset((
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND "
    b"UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK "
    b"UNLINK SOURCE QUERY").split())
_DISGUISE: Final = b"PUT"
_NAMES: Final = {name: name.decode() for name in _PARSED}
_CHAR: Final = rb"!#$%&'*+.^_`|~0-9A-Za-z-"
_METHOD: Final = re.compile(rb"(?:\r\n)*([%b]{1,64}) " % _CHAR).match
#: What is no request line, since something else follows what may be a method, or a blank comes first.
_NO_METHOD: Final = re.compile(rb"(?:\r\n)*(?: |[%b]*[^ %b])" % (_CHAR, _CHAR)).match
_WATCHED: Final = frozenset({b"expect", b"te", b"upgrade"})


def _tokens(value: bytes) -> list[bytes]:
    return [each.strip() for each in value.lower().split(b",")]


def _has_body(headers: Iterable[Header]) -> bool:
    return any(name in FIELDS and value.strip(b"0") for name, value in headers)


def _weight(body: Incoming) -> int:
    """Bytes that were well spent on a *body*."""
    return body.buffered + _PER_CHUNK * len(body.pieces)


class Incoming:
    """A request whose head was read, and what has come of its body.

    Attributes:
        head: See RequestHead.
        keep_alive: Whether the client would like to keep the connection.
        complete: Whether the whole body has come.
        broken: Whether the rest of it never will.
        pieces: Of the body, that nobody took yet.
        buffered: Bytes in these.
        expects_continue: Whether the client waits for "100 Continue" before it sends its body.
        hop: What the client asks of its connection; None: nothing.
        trailers: That came after a chunked body.
        trailer_bytes: In these.
        excess: Bytes of its chunks that are no data, beyond _PER_CHUNK for each piece.
    """

    complete = broken = expects_continue = ended = False
    buffered = trailer_bytes = excess = 0
    hop: HopRequest | None = None

    def __init__(self, head: RequestHead, keep_alive: bool) -> None:
        self.head, self.keep_alive = head, keep_alive
        self.pieces: list[Piece] = []
        self.trailers: list[Header] = []


class RequestParser:
    """The requests of one connection.

    Attributes:
        accepted: What is known of the connection.
        waiting: Requests whose heads are complete, and that nobody took out yet; the body of the last one may follow.
        incoming: The request whose body is being read; None: a head is, or nothing.
        refusal: Why no more is read; None: nothing is wrong.
        has_begun: Whether something has come of a request that is not complete.
        leftover: Bytes behind a request that would like to switch protocols; None: there is no such request.
    """

    __slots__ = (
        "_bodied", "_completed", "_fed", "_head_bytes", "_headers", "_max_head_bytes", "_max_headers", "_method",
        "_parser", "_unparsed", "_url", "_watched", "accepted", "has_begun", "incoming", "leftover", "refusal",
        "waiting")

    def __init__(self, accepted: Accepted, *, max_head_bytes: int, max_headers: int) -> None:
        self.accepted, self._max_head_bytes, self._max_headers = accepted, max_head_bytes, max_headers
        self.waiting: deque[Incoming] = deque()
        self.refusal: Refusal | None = None
        self._fed = 0
        self._start_over()

    def _start_over(self) -> None:
        self._parser: Any = httptools.HttpRequestParser(self)
        self.incoming: Incoming | None = None
        self.leftover: bytes | None = None
        self._url, self._method = b"", ""
        self._headers: list[Header] = []
        self._watched = self._completed = self.has_begun = False
        self._bodied = False  # whether a body follows, although httptools takes what follows for another protocol
        self._head_bytes = 0
        self._unparsed = 0  # bytes of the body that are to come, and that llhttp will not see

    def close(self) -> None:
        """No more will be read. The parser holds its owner, and lets go of it here."""
        self._parser = None

    @property
    def is_closed(self) -> bool:
        """Whether no more will be read."""
        return self._parser is None

    def refused_head(self) -> RequestHead:
        """What is known of the request that is refused. Not its headers: what is missing could change what they say."""
        method, version = self._method, "0.0"
        if self._parser is not None and self._url:  # before that, llhttp shows what stands there by default
            method, version = method or self._parser.get_method().decode(), self._parser.get_http_version()
        path, _, query = self._url.partition(b"?")
        accepted = self.accepted
        return RequestHead(method or "-", path or b"-", query, "-" if version == "0.0" else version, accepted.scheme,
                           (), accepted.client, accepted.server, accepted.certificate)

    def resume(self) -> None:
        """Go on with what followed a request that did not switch protocols after all."""
        rest = self.leftover or b""
        self._start_over()
        if rest:
            self.feed(rest)

    def feed(self, data: Piece) -> None:
        """Read what has arrived."""
        if self.refusal is not None or self._parser is None:
            return
        if self.leftover is not None:
            self.leftover += bytes(data)
            return
        data = self._past_llhttp(data) if self._unparsed else bytes(data)
        if not data:
            return
        self._completed = False
        self._fed = len(data)
        body = self.incoming
        before = 0 if body is None else _weight(body)
        is_first = not self.has_begun
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            rest = data[error.args[0]:]
            if self._bodied:
                self._read_body(rest)
            else:
                self.leftover = rest
        except httptools.HttpParserError as error:
            self._fail(error, data if is_first and not self._completed else b"")
        else:
            if self.has_begun:
                self._bound(body, before)

    def _read_body(self, rest: bytes) -> None:
        """Read the body of a request that keeps its protocol, by a parser that has not heard of another one."""
        incoming, self._bodied = self.incoming, False
        assert incoming is not None
        keep_alive = incoming.keep_alive
        framing = b"".join(b"%b: %b\r\n" % header for header in incoming.head.headers if header[0] in FIELDS)
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(b"PUT / HTTP/%b\r\nConnection: %b\r\n%b\r\n" % (
                incoming.head.version.encode(), b"keep-alive" if keep_alive else b"close", framing))
        except httptools.HttpParserError as error:  # of a framing that is only looked at before a body
            self._fail(error, b"")
        incoming.trailers.clear()  # that head came after a head, and says nothing of its own
        incoming.keep_alive = keep_alive
        self._url, incoming.trailer_bytes = b"", 0
        if rest:
            self.feed(rest)

    def _fail(self, error: httptools.HttpParserError, data: bytes) -> None:
        """Refuse what llhttp, or one of its callbacks, has refused, unless *data* begins with a method of its own."""
        if self.refusal is None and not self._disguised(data):
            if isinstance(error, httptools.HttpParserInvalidMethodError) and not _NO_METHOD(data):
                self.refusal = Refusal(501, "the request's method is not known here")
            elif str(error) == _OTHER_VERSION:
                self.refusal = _VERSION
            else:
                self.refusal = Refusal(400, "the request is not valid HTTP/1.1")

    def _bound(self, body: Incoming | None, before: int) -> None:
        """Refuse a head, or what is around the chunks of a *body*, that grows without end."""
        if self.incoming is None:
            # Of a head that begins behind another request, nobody knows how much has come: it is measured in the end.
            self._head_bytes += 1 if self._completed or body is not None else self._fed
            if self._head_bytes > self._max_head_bytes:
                self._too_large()
        elif self.incoming is body and body is not None:
            body.excess = max(0, body.excess + self._fed - (_weight(body) - before))
            if body.excess > MAX_CHUNK_EXCESS:
                self.refusal = Refusal(400, "the chunks have more around them than in them")
        elif self.incoming.keep_alive:  # else llhttp refuses what follows the body
            left = large_rest(self.incoming.head.headers, self.incoming.buffered)
            if left:
                self._go_past_llhttp(left)

    def _go_past_llhttp(self, left: int) -> None:
        """The next bytes, so many, are the rest of a body that llhttp will not see."""
        self._unparsed = left

    def _past_llhttp(self, data: Piece) -> bytes:
        """Take a piece of a body that llhttp does not see; what is behind the body."""
        left = self._unparsed
        piece, rest = (data, b"") if len(data) <= left else (data[:left], bytes(data[left:]))
        self.on_body(piece)
        self._unparsed = left - len(piece)
        if not self._unparsed:
            self._parser = httptools.HttpRequestParser(self)  # the one that was there still waits for the body
            self.on_message_complete()
        return rest

    def _disguised(self, data: bytes) -> bool:
        """Parse a request whose method llhttp does not know as if it had another; whether that was what is wrong."""
        found = _METHOD(data)
        if found is None or found[1] in _PARSED or self._method:
            return False
        self._start_over()
        self._method = found[1].decode()
        self.feed(_DISGUISE + data[found.end() - 1:])
        return True

    def _too_large(self) -> None:
        if len(self._url) > MAX_TARGET_BYTES or (not self._headers and not self._url):
            self.refusal = TARGET_TOO_LONG
        else:
            self.refusal = HEAD_TOO_LARGE

    def _refuse(self, refusal: Refusal) -> None:
        """Stop llhttp in one of its callbacks."""
        self.refusal = refusal
        raise ValueError

    # -- llhttp calls these

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.has_begun = True

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        name = name.lower()
        value = value.rstrip(b" \t")
        if self.incoming is not None:
            self._on_trailer(self.incoming, name, value)
            return
        self._headers.append((name, value))
        if name in _WATCHED:
            self._watched = True

    def _on_trailer(self, incoming: Incoming, name: bytes, value: bytes) -> None:
        incoming.trailers.append((name, value))
        if name == b"connection":  # no business of a trailer, but llhttp reads on by it
            incoming.keep_alive = False
        incoming.trailer_bytes += len(name) + len(value)
        if len(incoming.trailers) > MAX_TRAILERS or incoming.trailer_bytes > MAX_CHUNK_EXCESS:
            self._refuse(Refusal(431, "the request's trailers are too large, or too many"))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self.incoming is not None:
            return  # see _read_body()
        parser, headers, url = self._parser, self._headers, self._url
        version: str = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._refuse(Refusal(400, _VERSION.detail) if version == "0.9" else _VERSION)
        self._completed = True
        if self._head_bytes or self._fed > self._max_head_bytes:
            self._check_size()
        if len(url) > MAX_TARGET_BYTES or len(headers) > self._max_headers:
            self._too_large()
            raise ValueError
        if len(self.waiting) >= MAX_PIPELINED:
            self._refuse(Refusal(503, "too many requests were sent without waiting for answers"))
        path, _, query = url.partition(b"?")
        method: bytes = parser.get_method()
        accepted = self.accepted
        head = RequestHead(self._method or _NAMES.get(method) or method.decode(), path, query, version,
                           accepted.scheme, headers, accepted.client, accepted.server, accepted.certificate)
        if head.method == "CONNECT":
            self._refuse(NO_TUNNELS)
        self.incoming = incoming = Incoming(head, parser.should_keep_alive())
        if self._watched:
            self._look(incoming)
        self.waiting.append(incoming)

    def _check_size(self) -> None:
        if len(self._url) + size_of(self._headers) > self._max_head_bytes:
            self._too_large()
            raise ValueError

    def _look(self, incoming: Incoming) -> None:
        """Look at what few requests have."""
        self._watched = False
        upgrade: list[bytes] = []
        takes_trailers = False
        switches = self._parser.should_upgrade()
        self._bodied = switches and _has_body(incoming.head.headers)
        for name, value in incoming.head.headers:
            if name == b"expect":
                incoming.expects_continue = value.lower() == b"100-continue" and incoming.head.version == "1.1"
            elif name == b"te":
                takes_trailers = incoming.head.version == "1.1" and b"trailers" in _tokens(value)
            elif name == b"upgrade" and incoming.head.version == "1.1" and switches and not self._bodied:
                upgrade += _tokens(value)
        if upgrade or takes_trailers:
            incoming.hop = HopRequest(upgrade, takes_trailers)

    def on_body(self, body: Piece) -> None:
        """A piece of the body."""
        incoming = self.incoming
        assert incoming is not None
        incoming.pieces.append(body)
        incoming.buffered += len(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._bodied:
            return
        incoming = self.incoming
        if incoming is not None:
            incoming.complete = True
        self.incoming = None
        self.has_begun = False
        self._url, self._method = b"", ""
        self._headers = []
        self._head_bytes = 0
