"""Bodies of responses of httpx and httpx2: they are read through the guarded exchange, and closing one ends it.

A body ends in one of four ways, and each decides what the exchange amounts to:

- *read to its end*, or the read fails: the exchange itself has come to its end;
- *closed before its end*: the response is as good as its head, whoever was reading it. An iterator of the client that
  is dropped says nothing: the body can still be closed, or dropped in its turn, by which the exchange is cancelled;
- *closed since it could not be decoded*: the client decodes above its transport, so nothing but the exception that is
  under way while it closes the response tells of it. The body was wrong, which is a failure. (httpx2 closes a
  response before anybody can see that exception, so there it is as good as its head.)
- *closed by another thread or task than the one that reads*: a generator that runs cannot be told anything. So the
  inner body is closed, as it would be without a guard. The read that this ends is no failure of the server.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

from ..core.exception_groups import is_a
from .http_exchange import OURS, Exchanges, leave, leave_async
from .httpx_cancellation import Held, unbroken

_LEFT = "the response was closed while its body was read"


class _Body:
    _library: Any

    def __init__(self, exchanges: Exchanges, exchange: Any, request: Any, inner: Any) -> None:
        self._exchanges, self._request, self._inner = exchanges, request, inner
        self._exchange = exchange  # None: it has ended, and its key is let go
        self._is_left = False  # it was closed while somebody else read it

    def _undecodable(self) -> BaseException | None:
        """What the client raises at present about this body, if it could not decode it."""
        error = sys.exc_info()[1]
        is_decoding = error is not None and is_a(error, self._library.DecodingError)
        return error if is_decoding and vars(error).get("_request") is self._request else None


class SyncBody(_Body):
    """The body of a response: reading on goes through the guarded exchange."""

    _exchange: Generator[Any, Any, Any] | None

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._exchange or ():  # noqa: UP028 - a dropped iterator must not take the exchange along
                yield chunk
        except GeneratorExit:  # who reads stops here; close() is yet to come
            raise
        except BaseException as error:
            self._exchange = None
            if is_a(error, OURS):
                raise self._exchanges.raised_as(error, self._request) from error.__cause__
            raise
        self._exchange = None
        if self._is_left:
            raise self._library.ReadError(_LEFT)

    def close(self) -> None:
        """End the exchange; what was not read is not wanted."""
        exchange = self._exchange
        if exchange is None:
            return
        if exchange.gi_running:  # type: ignore[attr-defined]
            self._is_left = True
            self._exchanges.left.add(self._inner)
            self._inner.close()
            return
        self._exchange = None
        leave(exchange, self._undecodable())


class AsyncBody(_Body):
    """The body of a response: reading on goes through the guarded exchange."""

    _exchange: AsyncGenerator[Any, Any] | None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        exchange = self._exchange
        if exchange is None:
            raise StopAsyncIteration
        try:
            return await exchange.__anext__()  # type: ignore[no-any-return]
        except BaseException as error:
            if not exchange.ag_running:  # type: ignore[attr-defined]  # else another task reads it
                self._exchange = None
            if is_a(error, OURS):
                raise self._exchanges.raised_as(error, self._request) from error.__cause__
            if self._is_left and is_a(error, StopAsyncIteration):
                raise self._library.ReadError(_LEFT) from None
            raise
        finally:
            del exchange

    async def aclose(self) -> None:
        """End the exchange; what was not read is not wanted."""
        exchange = self._exchange
        if exchange is None:
            return
        if exchange.ag_running:  # type: ignore[attr-defined]
            await self._close_under_reader()
            return
        try:
            await leave_async(exchange, self._undecodable())
        finally:
            self._exchange = None

    async def _close_under_reader(self) -> None:
        self._is_left = True
        self._exchanges.left.add(self._inner)
        held = Held()
        await unbroken(self._inner.aclose(), held)
        if held:
            held.release()
