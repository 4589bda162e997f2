"""A client's request as the server sees it, whichever server that is.

The gateway knows no more of its servers than this: the ASGI adapter (asgi.py) and the gateway's own front stand
behind it. A server calls ``Gateway.serve()`` with one Inbound per request, in one task, which it cancels when the
client leaves: an exchange that is cut counts as cancelled, and is nobody's failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import attrs

from .exchange import Header, Piece
from .tunnel import TunnelEnd


class ClientGoneError(Exception):
    """The client left, or stopped taking."""


class BodyBrokenError(Exception):
    """The request's body broke off, or its chunks are malformed."""


@attrs.frozen(kw_only=True)
class ClientCertificate:
    """A client's certificate, which the server has verified.

    Attributes:
        subject: Its distinguished name as RFC 4514 writes it, such as "CN=billing,O=Shop".
        names: Its alternative names, such as "DNS:billing.internal" or "URI:spiffe://shop/billing".
        fingerprint: SHA-256 of its DER encoding, 64 hexadecimal digits in lower case.
    """

    subject: str
    names: tuple[str, ...] = ()
    fingerprint: str = ""


class RequestHead:
    """The head of a client's request. Not to be changed.

    Attributes:
        method: As sent; methods are case-sensitive.
        path: The request target, byte for byte, without the query: a path (below the gateway's mount, if there is one),
            a URL if the client sent the absolute form, or "*".
        query: The raw query, without its question mark.
        version: Of HTTP: "1.0", "1.1", "2".
        scheme: "http" or "https", as the client's connection is.
        headers: Names in lower case, in the order in which they came.
        client: Address and port of the peer; None: unknown, as for a Unix socket.
        server: Address and port of the gateway's own socket; None: unknown.
        certificate: The client's, of its TLS connection with the server itself; None: none, or none was verified.
        unsized: Whether a body follows whose length no header says, as HTTP/2 can have it. In HTTP/1.1, headers say so.
        is_duplex: Whether its body may go on beside the answer, which must then have begun.
        has_come: Whether the request is complete already, without trailers.
    """

    __slots__ = (
        "certificate", "client", "headers", "method", "path", "query", "scheme", "server", "unsized", "version")
    is_duplex: bool = False
    has_come: bool = False

    def __init__(self, method: str, path: bytes, query: bytes, version: str, scheme: str, headers: Sequence[Header],
                 client: tuple[str, int] | None, server: tuple[str, int] | None,
                 certificate: ClientCertificate | None = None, *, unsized: bool = False) -> None:
        self.method, self.path, self.query, self.version = method, path, query, version
        self.scheme, self.headers, self.client, self.server = scheme, headers, client, server
        self.certificate, self.unsized = certificate, unsized


class StreamHead(RequestHead):
    """The head of a request that has a stream of HTTP/2 to itself."""

    __slots__ = ("has_come",)
    is_duplex = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.has_come = False


class RefusedRequest(NamedTuple):
    """A request that its server has answered by itself, since it is none, or one too many.

    Attributes:
        head: What is known of it.
        status: Of the answer.
        reason: One word.
        sent: Bytes of the answer's body.
    """

    head: RequestHead
    status: int
    reason: str
    sent: int


class HopRequest:
    """What a client asks of its own connection, beside the request. Few do.

    Attributes:
        upgrade: Protocols that it would like to switch to, in lower case.
        takes_trailers: Whether it understands trailers.
    """

    __slots__ = ("takes_trailers", "upgrade")

    def __init__(self, upgrade: Sequence[bytes], takes_trailers: bool) -> None:
        self.upgrade, self.takes_trailers = upgrade, takes_trailers


class Inbound(Protocol):
    """One request of a client, and the way back. Of one task.

    It gives up a client that takes nothing of an answer for client_timeout: on a connection that several answers share,
    nobody else can tell. Then write() and end() raise ClientGoneError.

    Attributes:
        head: The request's head.
        hop: What the client asks of its connection; None: nothing, or the server cannot give it.
        trailers: That came after the body, once that is complete.
    """

    head: RequestHead

    @property
    def hop(self) -> HopRequest | None:
        """See above."""
        ...

    @property
    def trailers(self) -> Sequence[Header]:
        """See above."""
        ...

    async def receive(self) -> tuple[Piece, bool]:
        """Wait for the next piece of the request's body; return it, and whether there is more.

        Raises:
            BodyBrokenError: There is no next piece.
        """
        ...

    def body_is_over(self) -> None:
        """Nothing more of the request's body is wanted. From now on a client that leaves cancels the task.

        The gateway's own front does that at any time, but for what waits in receive().
        """

    def interim(self, status: int, headers: Sequence[Header]) -> None:
        """Send an interim response (1xx) before the response, if the client and the server can have one."""

    def switch(self, headers: Sequence[Header]) -> TunnelEnd:
        """Answer 101 and give the connection, or the stream, away: what comes from now on belongs to the tunnel.

        Raises:
            ClientGoneError: The client left.
            UpstreamError: By these *headers* the upstream has not done what the server asked of it for the client.
        """
        ...

    async def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Send a whole response: *headers* say how long *body* is, if anything does."""

    async def start(self, status: int, headers: Sequence[Header]) -> None:
        """Begin a response whose body is to be streamed: write() and end() follow."""

    async def write(self, piece: Piece) -> None:
        """Send a piece of the response's body; returns when there is room for another."""

    async def end(self, piece: Piece, trailers: Sequence[Header] = ()) -> None:
        """Send the last piece of the body, which may be empty, and *trailers*, if the client takes any."""
