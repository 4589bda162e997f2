"""Held answers: answers of which something is read before they are passed on.

For the forwarder each of them is as good as an Exchange. Of an answer that may not be the last one up to HELD_BYTES are
read, so that it can be given after all; a longer one is passed on as it is.

A stream that a rule rejects by its first event is not over yet. It has been counted, and its permit is back, as if it
were cut; but its connection stays open for a limited time while another endpoint is asked (OpenAnswer). It is given
after all if it has ended by then: what is given is whole, and nothing streams past the limits of its endpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from ...drivers.async_timeouts import AsyncTimeout
from ..messages.content import ContentDecoder
from ..messages.event_stream import EventStreamReader, is_event_stream
from ..messages.exchange import Exchange, Header, UpstreamError, UpstreamLateError, UpstreamStalledError
from ..messages.request_body import within

#: So much of an answer's body is kept while it is seen whether another endpoint has a better one.
HELD_BYTES: Final = 64 * 1024
#: Seconds that a client waits for the end of a rejected stream when nobody is left: most end with their first event.
_GRACE_S: Final = 1.0


class HeldAnswer:
    """An answer that has come whole, and whose exchange is over. For the forwarder it is as good as an Exchange."""

    __slots__ = ("begun", "failure", "headers", "status", "trailers", "version")
    answered = complete = True

    def __init__(self, status: int, headers: list[Header], body: bytes, trailers: Sequence[Header] = (),
                 version: str = "1.1") -> None:
        self.status, self.headers, self.begun, self.trailers = status, headers, body, trailers
        self.version = version
        self.failure: UpstreamError | None = None

    def take(self) -> bytes:
        """The body, once."""
        body, self.begun = self.begun, b""
        return body

    async def more(self) -> None:
        """See Exchange; there is no more."""


class Resumed:
    """An answer that turned out too long to be held back: what was read of it, and then the rest."""

    __slots__ = ("_exchange", "begun")

    def __init__(self, exchange: Exchange | Resumed | HeldAnswer, begun: bytes) -> None:
        self._exchange, self.begun = exchange, begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Resumed.__slots__:
            object.__setattr__(self, name, value)
        else:
            setattr(self._exchange, name, value)

    def take(self) -> bytes:
        """See Exchange."""
        begun, self.begun = self.begun, b""
        return begun + self._exchange.take()


class OpenAnswer:
    """An answer that was rejected before its end, and its exchange, which no permit covers any more. Of one task.

    It must be dropped in the end; it also drops itself when its time is over.
    """

    __slots__ = ("_begun", "_end", "_exchange", "_timer")

    def __init__(self, exchange: Exchange, begun: bytes, limit_s: float) -> None:
        """Take over the *exchange*, which nobody else may release.

        Args:
            exchange: Its head has come.
            begun: What was read of its body.
            limit_s: For how long it is kept, seconds.
        """
        loop = asyncio.get_running_loop()
        self._exchange: Exchange | None = exchange
        self._begun, self._end = begun, loop.time() + limit_s
        self._timer = loop.call_at(self._end, self.drop)

    def drop(self) -> None:
        """Let the exchange go. May be called again."""
        exchange, self._exchange = self._exchange, None
        self._timer.cancel()
        if exchange is not None:
            exchange.release()

    async def whole(self) -> HeldAnswer | None:
        """The answer; None: it has not ended in time, or has too many bytes. It is dropped in either case."""
        exchange = self._exchange
        if exchange is None:
            return None
        self._timer.cancel()
        left_s = min(_GRACE_S, self._end - asyncio.get_running_loop().time())
        try:
            if not exchange.complete and left_s > 0:
                await within(AsyncTimeout("rejected", left_s), self._rest(exchange), _stopped)
            self._begun += exchange.take()
            if exchange.complete and len(self._begun) <= HELD_BYTES:
                return HeldAnswer(exchange.status, exchange.headers, self._begun, exchange.trailers, exchange.version)
        except UpstreamError:
            return None
        finally:
            self.drop()
        return None

    async def _rest(self, exchange: Exchange) -> None:
        while not exchange.complete and len(self._begun) <= HELD_BYTES:
            await exchange.more()
            self._begun += exchange.take()


#: What the forwarder takes for an answer.
Answer = Exchange | HeldAnswer | Resumed


async def begun_or_whole(exchange: Answer, idle: AsyncTimeout) -> Resumed | HeldAnswer | None:
    """The answer whole, or, if it is long, its beginning; None: it broke off meanwhile, as its ``failure`` says."""
    begun = b""
    try:
        while True:
            begun += exchange.take()
            if exchange.complete and len(begun) <= HELD_BYTES:
                return HeldAnswer(exchange.status, exchange.headers, begun, exchange.trailers, exchange.version)
            if len(begun) > HELD_BYTES:
                return Resumed(exchange, begun)
            await within(idle, exchange.more(), _stopped)
    except UpstreamError as error:
        exchange.failure = error
        return None


async def with_first_item(exchange: Exchange, first: AsyncTimeout, idle: AsyncTimeout, hold: int) -> Resumed | None:
    """The answer, when its first item and *hold* bytes of it have come; None: they did not, or not in time.

    Args:
        exchange: Its head has come.
        first: Bounds the wait for the first item.
        idle: Bounds the wait for each piece after that.
        hold: Bytes.
    """
    found = Resumed(exchange, bytes(exchange.take()))
    try:
        await within(first, _item(exchange, found), lambda: UpstreamLateError("no first item"))
        while not exchange.complete and len(found.begun) < hold:
            await within(idle, exchange.more(), _stopped)
            found.begun += exchange.take()
    except UpstreamError as error:
        exchange.failure = error
        return None
    return found


async def _item(exchange: Exchange, found: Resumed) -> None:
    has_event = _first_event_in(exchange.headers) if is_event_stream(exchange.headers) else bool
    piece = found.begun
    while not exchange.complete and len(found.begun) <= HELD_BYTES and not has_event(piece):
        await exchange.more()
        piece = bytes(exchange.take())
        found.begun += piece


def _first_event_in(headers: Sequence[Header]) -> Callable[[bytes], bool]:
    """Says of the pieces of a stream whether its first event has come; of one that nobody can read, any byte."""
    decoder, reader = ContentDecoder(headers, HELD_BYTES), EventStreamReader()

    def has_come(piece: bytes) -> bool:
        text = decoder.piece(piece)
        return bool(piece) if text is None else next(reader.events(text), None) is not None

    return has_come


def _stopped() -> UpstreamStalledError:
    return UpstreamStalledError("stopped in its answer")
