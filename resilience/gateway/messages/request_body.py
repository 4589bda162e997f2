"""Intake: the body of one request as the client sends it, within bounds of time and size.

A body that is streamed holds a permit of its service until it has ended, so
neither a client that stops, nor one that sends a byte whenever its patience
nearly ran out, nor one that never ends may keep that permit. Four bounds:

    for the next piece    client_timeout    408
    for all pieces        upload_timeout    408
    for their pace        min_upload_rate       408
    for their bytes       max_body          413

A body that breaks off, or whose chunks are malformed, is 400.

Only the time spent waiting for the client is counted; what the upstream takes to
swallow a piece is no fault of the client's. The bounds for all pieces and for their pace
are looked at when one arrives, so a wait ends no later than upload_timeout + client_timeout,
and costs no second timer. The pace is asked for after RATE_AFTER_S only.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from math import inf
from typing import Final, TypeVar

from ...core.context_managers import context_manager
from ...drivers.async_timeouts import AsyncTimeout
from ...errors import DeadlineExceededError
from .exchange import Piece
from .inbound import BodyBrokenError
from .problem import Problem, too_large

_T = TypeVar("_T")

#: A body up to this size is taken in before the service is called, so that a slow client holds no permit.
SMALL_BODY_BYTES: Final = 64 * 1024
#: Seconds of waiting after which a body must have come at the least pace: those of Kestrel's MinRequestBodyDataRate.
RATE_AFTER_S: Final = 5.0


class Intake:
    """The pieces of one request's body. Of one task."""

    __slots__ = ("_came", "_left", "_max_body", "_patience", "_rate", "_receive", "_upload_timeout", "_waited_s")

    def __init__(self, receive: Callable[[], Awaitable[tuple[Piece, bool]]], patience: AsyncTimeout,
                 upload_timeout: float | None, max_body: int | None, rate: float | None = None) -> None:
        """Nothing is read yet.

        Args:
            receive: Inbound.receive().
            patience: Bounds the wait for one piece.
            upload_timeout: Bounds the wait for all of them, seconds; None: nothing does.
            max_body: Bytes; None: any number.
            rate: Bytes a second at the least; None: any.
        """
        self._receive = receive
        self._patience: AsyncTimeout | None = patience
        self._upload_timeout, self._rate = upload_timeout, rate
        self._waited_s, self._came = 0.0, 0
        self._max_body = self._left = max_body

    def be_patient(self) -> None:
        """From now on the client may take its time: somebody else bounds how long it and the upstream say nothing."""
        self._patience = self._upload_timeout = self._rate = None

    async def piece(self) -> tuple[Piece, bool]:
        """The next piece, and whether there is more.

        Raises:
            Problem: 400, 408 or 413.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            receiving = self._receive()
            body, more = await (receiving if self._patience is None else within(self._patience, receiving, _late))
        except BodyBrokenError:  # perhaps since the client left, who takes no harm from an answer
            raise Problem(400, "the body broke off, or its chunks are malformed", close=True) from None
        self._waited_s += clock() - began
        self._came += len(body)
        if more and self._is_late():
            raise _late()
        if self._left is not None and self._max_body is not None:
            self._left -= len(body)
            if self._left < 0:
                raise too_large(self._max_body)
        return body, more

    def _is_late(self) -> bool:
        waited = self._waited_s
        return ((self._upload_timeout is not None and waited >= self._upload_timeout)
                or (self._rate is not None and is_too_slow(self._came, waited, self._rate)))

    async def begun(self, most: float) -> tuple[bytes, bool]:
        """The body as far as *most* bytes, or a piece more, and whether there is more of it.

        Raises:
            Problem: 400, 408 or 413.
        """
        pieces, size, more = list[Piece](), 0, True
        while more and size <= most:
            piece, more = await self.piece()
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces), more

    async def whole(self, length: int | None) -> bytes:
        """All of a body that has *length* bytes, or as many as it may have if that is None; they are kept in memory.

        Raises:
            Problem: 400, also if it has not *length* bytes; 408 or 413.
        """
        body, _ = await self.begun(inf if length is None else length)
        if length is not None and len(body) != length:
            raise Problem(400, "the body is not as long as its Content-Length", close=True)
        return body


class BegunIntake:
    """A body of which something was taken in already: that, and then the rest."""

    __slots__ = ("_begun", "_intake", "_more", "be_patient")

    def __init__(self, begun: bytes, more: bool, intake: Intake) -> None:
        self._begun: bytes | None = begun
        self._more, self._intake = more, intake
        self.be_patient = intake.be_patient

    async def piece(self) -> tuple[Piece, bool]:
        """See Intake."""
        begun, self._begun = self._begun, None
        return await self._intake.piece() if begun is None else (begun, self._more)


class Uploads:
    """How many bodies of one service are streamed at once: no more than a share of what it may have under way.

    While a client sends its body the exchange holds a permit of the service, and the client has its own pace. So
    all clients together that send slowly must leave permits to those that do not. Of one event loop.

    Attributes:
        most: How many.
    """

    __slots__ = ("_under_way", "most")

    def __init__(self, most: float) -> None:
        self.most, self._under_way = most, 0

    @property
    def are_full(self) -> bool:
        """Whether another body cannot be streamed now."""
        return self._under_way >= self.most

    @context_manager
    def one(self) -> Iterator[None]:
        """Stream one.

        Raises:
            Problem: 503: there are too many.
        """
        if self.are_full:
            raise Problem(503, "too many requests with large bodies are under way", headers=[(b"retry-after", b"1")],
                          close=True)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1


def is_too_slow(size: int, waited_s: float, min_rate: float) -> bool:
    """Whether so many bytes in so many seconds of waiting are less than *min_rate* bytes a second."""
    return waited_s > RATE_AFTER_S and size < min_rate * waited_s


def _late() -> Problem:
    return Problem(408, "the request's body did not come in time", close=True)


async def within(deadlines: AsyncTimeout, awaitable: Awaitable[_T], late: Callable[[], Exception]) -> _T:
    """Wait for *awaitable* no longer than *deadlines* say, else raise what *late* makes."""
    try:
        watch = deadlines.enter()
    except DeadlineExceededError:  # the request's own deadline has passed already
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise late() from None
    try:
        result = await awaitable
    except BaseException as error:
        if deadlines.timed_out(watch, error) is not None:
            raise late() from None
        raise
    deadlines.leave(watch)
    return result
