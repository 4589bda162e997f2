"""An observed request: one on its way through the gateway, and what there is to say of it afterwards.

It stands between the gateway and its server: it is the Inbound that the gateway serves, and hands everything on. What
it can see there it notes: when the client's body was over, when the answer's head came, with which status, how
many bytes, and whether the answer was complete. So neither the forwarder nor any server has to report anything. What
only they know (the route, the service, who asks) is told to it.

Its methods hand on what the server's return, without a coroutine of their own, wherever there is nothing to wait for.
An attribute that nobody has set is the class's: most of them stay so, and a request pays for those that do not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, Protocol

from ..messages.exchange import Header, Piece
from ..messages.inbound import HopRequest, Inbound, RequestHead
from ..messages.tunnel import TunnelEnd
from .trace_context import Trace

#: How a request ended that has no status: its client left. A number of nginx's.
CLIENT_GONE: Final = 499


class AnswerReader(Protocol):
    """What reads an answer as it passes, such as for its cost."""

    def head(self, status: int, headers: Sequence[Header]) -> None:
        """The answer's head."""

    def piece(self, data: bytes) -> None:
        """The next piece of its body."""


class ObservedRequest:
    """One request, as an Inbound that notes what passes. Of one task.

    Attributes:
        head: See Inbound.
        hop: What the client asks of its own connection; None: nothing, or the server does not say.
        began: When it came, seconds on the observer's clock.
        waited_at: When the client's body was over, and the upstream's answer was waited for; None: it never was.
        head_at: When the answer's head came; None: it never did.
        status: Of the answer; 0: none was sent.
        received: Bytes of the request's body.
        sent: Bytes of the answer's body.
        complete: Whether the answer was handed over to its end.
        refused: Why the gateway itself answered, in one word; None: it did not.
        fallback_for: Why a fallback of the gateway's own answered, in one word; None: none did.
        listener: "private", if it came over that of the ``[private]`` table; None: over the public one.
        route: Name of the route.
        service: Name of the service.
        endpoint: Where the service answered.
        attempts: How often the service was asked.
        consumer: Who asks, as the gateway found out.
        identity: The same, with all that is known of it; see filters.context.Identity.
        client: The client's address, as far as it can be trusted.
        trace: The trace that it belongs to.
        states_trace: Whether its headers say anything of a trace or an id.
        request_id: What it is called.
        answer_headers: Added to whichever answer it gets.
        readers: Read the answer as it passes.
        endings: Called when it is over, whatever ended it.
        span: Of OpenTelemetry; see spans.
        level: How important it is; 0 is the most.
        tenant: Whose it is, where tenants take turns.
        admitted_at: When admission control let it in.
        ended: When it was over, seconds since the epoch.
        duration_s: From the request's head to the answer's end.
        logged: Headers of the request that are logged.
    """

    waited_at: float | None = None
    head_at: float | None = None
    status = received = sent = attempts = 0
    complete = False
    refused: str | None = None
    fallback_for: str | None = None
    listener: str | None = None
    route: str | None = None
    service: str | None = None
    endpoint: str | None = None
    consumer: str | None = None
    identity: Any = None
    client: str | None = None
    request_id: str | None = None
    trace: Trace | None = None
    states_trace = False
    answer_headers: Sequence[Header] = ()
    readers: Sequence[AnswerReader] = ()
    endings: Sequence[Callable[[ObservedRequest], object]] = ()
    span: Any = None
    level = 0
    tenant: Hashable = None
    admitted_at = 0.0
    ended = duration_s = 0.0
    logged: Sequence[tuple[str, bytes]] = ()

    def __init__(self, inbound: Inbound, clock: Callable[[], float]) -> None:
        self._inbound, self._clock = inbound, clock
        self.head: RequestHead = inbound.head
        self.hop: HopRequest | None = inbound.hop
        self.began = clock()

    @property
    def trailers(self) -> Sequence[Header]:
        """See Inbound."""
        return self._inbound.trailers

    def interim(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound."""
        self._inbound.interim(status, headers)

    async def receive(self) -> tuple[Piece, bool]:
        """See Inbound."""
        piece = await self._inbound.receive()
        self.received += len(piece[0])
        return piece

    def body_is_over(self) -> None:
        """See Inbound."""
        self.waited_at = self._clock()
        self._inbound.body_is_over()

    def respond(self, status: int, headers: Sequence[Header], body: bytes) -> Any:
        """See Inbound."""
        if self.readers or self.answer_headers:
            headers = self._begun(status, headers)
            self._passes(body)
        else:  # the same in short
            self.status, self.head_at, self.sent = status, self._clock(), len(body)
        self.complete = True
        return self._inbound.respond(status, headers, body)

    def start(self, status: int, headers: Sequence[Header]) -> Any:
        """See Inbound."""
        return self._inbound.start(status, self._begun(status, headers))

    def write(self, piece: Piece) -> Any:
        """See Inbound."""
        self._passes(piece)
        return self._inbound.write(piece)

    def end(self, piece: Piece, trailers: Sequence[Header] = ()) -> Any:
        """See Inbound."""
        self._passes(piece)
        self.complete = True
        return self._inbound.end(piece, trailers)

    def switch(self, headers: Sequence[Header]) -> TunnelEnd:
        """See Inbound; bytes in the tunnel are not counted."""
        headers = self._begun(101, headers)
        self.complete = True
        return self._inbound.switch(headers)

    def asked(self, endpoint: str) -> None:
        """The service is asked at this *endpoint*."""
        self.endpoint = endpoint
        self.attempts += 1

    def replaced(self, reason: str | None) -> None:
        """A fallback answers, for this *reason*; what its answer says is not about this request."""
        self.fallback_for, self.readers = reason, ()

    def add_answer_headers(self, *headers: Header) -> None:
        """Let the answer have these, whichever it will be."""
        self.answer_headers = (*self.answer_headers, *headers)

    def add_reader(self, reader: AnswerReader) -> None:
        """Let *reader* read the answer as it passes."""
        self.readers = (*self.readers, reader)

    def add_ending(self, ending: Callable[[ObservedRequest], object]) -> None:
        """Call *ending* when the request is over."""
        self.endings = (*self.endings, ending)

    def released(self, head: RequestHead) -> None:
        """Keep nothing of the request but this *head*: it is over."""
        self.head = head
        del self._inbound
        self.readers, self.endings, self.answer_headers, self.identity = (), (), (), None

    @property
    def upstream_s(self) -> float | None:
        """Seconds from the end of the client's body to the answer's head; None: an upstream gave no answer."""
        if self.waited_at is None or self.head_at is None or (self.refused or self.fallback_for) is not None:
            return None
        return self.head_at - self.waited_at

    def _begun(self, status: int, headers: Sequence[Header]) -> Sequence[Header]:
        self.status, self.head_at = status, self._clock()
        for reader in self.readers:
            reader.head(status, headers)
        return [*headers, *self.answer_headers] if self.answer_headers else headers

    def _passes(self, piece: Piece) -> None:
        if piece:
            self.sent += len(piece)
            for reader in self.readers:
                reader.piece(bytes(piece))
