"""What the gateway wants of an HTTP client, and how such a client fails.

The proxy knows no more of its client than this, so that another one can stand in
for upstream/http1.py.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import attrs

from .tunnel import TunnelEnd

Header = tuple[bytes, bytes]
#: Of a body. A view is of memory that nobody writes to while it is there; see large_reads.py.
Piece = bytes | memoryview


class UpstreamError(Exception):
    """The upstream did not answer, or not in HTTP, or not to the end."""


class UpstreamUnreachableError(UpstreamError):
    """No connection could be made."""


class LocalLimitError(UpstreamUnreachableError):
    """No connection could be made, since the gateway itself has no more files or ports: not the upstream's fault."""


class UnprocessedError(UpstreamUnreachableError):
    """The upstream says that it has not looked at the request, and never will: it is as good as never sent."""


class UpstreamStalledError(UpstreamError):
    """The upstream stopped sending, or taking, in the middle of a body."""


class UpstreamTooLargeError(UpstreamError):
    """The upstream's answer is larger than who asked for it can take."""


class UpstreamLateError(UpstreamStalledError):
    """The upstream sent the head of an answer, and nothing of its body in time."""


class UpstreamStatusError(UpstreamError):
    """The upstream answered with a status that the service's failure rules name. The client has had its answer.

    Attributes:
        status: Of the answer.
        headers: Of the answer, by name in lower case; the first of each name.
    """

    def __init__(self, status: int, headers: Iterable[Header] = ()) -> None:
        super().__init__(status)
        self.status = status
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(tuple(headers))}

    def __str__(self) -> str:
        return f"HTTP status {self.status}"


class RuledAnswerError(UpstreamError):
    """An answer counts as a failure, as a rule of the service says of its body or first event.

    Attributes:
        answer: What its status alone would say; not the attributes themselves, which failure rules would go by.
    """

    def __init__(self, answer: UpstreamStatusError) -> None:
        super().__init__(answer)
        self.answer = answer

    def __str__(self) -> str:
        return f"{self.answer} with what a rule of the service calls a failure"


class IgnoredAnswerError(RuledAnswerError):
    """An answer counts as nothing, as a rule of the service says. The client may have had it."""


class InvalidRequestError(Exception):
    """The request cannot be put on the wire as it is: the client's fault.

    Attributes:
        status: What the client is told.
    """

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


@attrs.frozen(cache_hash=True)
class Endpoint:
    """Where a service is listening.

    Attributes:
        host: Name or address.
        port: TCP port.
        tls: How it is verified; None: it speaks plain HTTP. Part of its identity, so that a connection which
            one service's authorities vouch for is never used for a service that trusts others.
        authority: What stands in the Host header.
        base: A path that is put before that of each request; without a slash at its end.
        server_name: What its certificate is verified for; None: the host.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    authority: bytes
    base: bytes = b""
    server_name: str | None = None

    @classmethod
    def parse(cls, url: str, tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
              server_name: str = "") -> Endpoint:
        """From a URL of scheme, host and port, and perhaps a base path.

        Args:
            url: As configured.
            tls: Says how to verify it, if it is https.
            server_name: What stands in the Host header, and what its certificate is verified for; empty: the host.
        """
        parts = urlsplit(url)
        assert parts.hostname is not None
        context = tls() if parts.scheme == "https" else None
        return cls(parts.hostname, parts.port or (443 if context else 80), context,
                   (server_name or parts.netloc).encode(), parts.path.rstrip("/").encode(),
                   server_name.partition(":")[0].rstrip(".") or None)


@attrs.define(kw_only=True, eq=False)
class Request:
    """What to send upstream. Not to be changed; freezing it would cost as much as routing it.

    Attributes:
        method: In capitals.
        target: Raw path and query; sent byte for byte.
        host: The Host header; None: the endpoint's own.
        headers: Names in lower case, without Host and framing.
        length: The body's length; None: unknown, send it chunked.
        body: The body, if it is there already; None: it is to be written to the exchange.
        upgrade: Protocols to switch to, if the upstream likes; it then answers 101, and detach() gives the connection.
        interim: Called with each interim response (1xx) that is the client's business, its headers being end to end;
            must not raise.
        asked: Called with the name of each endpoint that is asked; must not raise.
        replaced: Called with the reason why no service was asked, or has answered, if the answer is the gateway's own
            all the same; must not raise.
        unwanted: Statuses of answers that are not passed on, since whoever has the request forwarded has a better one.
        client: Address of the client, as far as trusted proxies tell; None: nobody knows, or nobody goes by it.
        owner: Who sent it, as far as filters found out, and what they have added to its headers: what is kept of its
            answer is given to nobody else.
    """

    method: str
    target: bytes
    host: bytes | None
    headers: Sequence[Header]
    length: int | None = 0
    body: bytes | None = b""
    upgrade: Sequence[bytes] = ()
    interim: Callable[[int, Sequence[Header]], None] | None = None
    asked: Callable[[str], None] | None = None
    replaced: Callable[[str | None], None] | None = None
    owner: Hashable = None
    client: bytes | None = None
    unwanted: frozenset[int] = frozenset()


class Exchange(Protocol):
    """One request and its answer. Of one task; release() must be called in the end.

    Attributes:
        status: Of the answer, after head().
        headers: Of the answer, names in lower case, after head().
        answered: Whether the head, or a failure, has arrived.
        complete: Whether the whole answer has arrived.
        failure: Why it never will; may be set from outside, too.
        trailers: That came after the answer's body, names in lower case, once it is complete.
        is_duplex: Whether the request's body may be sent beside the answer, after that has begun.
        version: Of HTTP, in which the answer came, as Via names it.
    """

    is_duplex: bool
    version: str
    status: int
    headers: list[Header]
    answered: bool
    complete: bool
    failure: UpstreamError | None
    @property
    def trailers(self) -> Sequence[Header]:
        """See above."""
        ...


    async def write(self, chunk: Piece) -> None:
        """Send a piece of the request's body; returns when there is room for another."""

    def end(self, trailers: Sequence[Header] = ()) -> None:
        """The request's body is complete. *trailers* go with it if it is chunked."""

    async def head(self) -> None:
        """Wait for the answer's head; raises ``failure`` if there is none."""

    async def answering(self) -> None:
        """Wait until ``answered``."""

    def take(self) -> Piece:
        """What has arrived of the body and was not taken yet."""
        ...

    async def more(self) -> None:
        """Wait until there is something to take, or the answer is complete."""

    def fail(self, failure: UpstreamError) -> None:
        """The answer will never be complete, unless it is already, for this reason."""

    def detach(self) -> TunnelEnd:
        """Give the connection of an exchange away whose status is 101. release() must be called all the same."""
        ...

    def release(self) -> None:
        """Done: keep the connection if it is clean, else cut it."""


class UpstreamClient(Protocol):
    """Sends requests to upstream services and returns their responses."""

    def of_http2(self) -> UpstreamClient:
        """The client for services that speak HTTP/2."""
        ...

    async def send(self, endpoint: Endpoint, request: Request, *, connect_timeout: float) -> Exchange:
        """Connect, and send the request's head and such body as it has."""
        ...

    def let_go(self, endpoint: Endpoint) -> None:
        """Close the idle connections to an endpoint that gets no more requests."""

    def close(self) -> None:
        """Close idle connections; exchanges under way end as they will."""


def client_tls(ca_file: str | None, *, http2: bool = False) -> ssl.SSLContext:
    """How https endpoints are verified, by the authorities in *ca_file* or by the system's, and what they speak."""
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["h2" if http2 else "http/1.1"])
    return context
