"""Cancellation: how httpx and httpx2 lose no connection by it.

httpcore, which holds the connections of both, loses one for ever if a request is cancelled in the moment
in which a connection is assigned to it, or between two steps of its own bookkeeping
(github.com/encode/httpcore/issues/1093). A pool of 10 is dead after 10 unlucky timeouts. Two things prevent that here:

- Nobody waits in httpcore's queue. A gate before it admits as many requests as there are connections, so that each gets
  one at once. To wait at the gate is safe to cancel, and cheap however many wait.
- httpcore's bookkeeping is not interrupted: between its locks it gives other tasks a turn, by a bare ``yield``. A
  cancellation that comes there is held back until httpcore waits for the network, of which it cleans up, or returns.
  So is one that comes where httpcore closes a response and waits for its lock: requests that have been assigned the
  same idle connection hold that lock, one after the other, until all but the first have found out. It may have been a
  timeout of httpcore's own, which is over by then: nobody is cancelled by that.

With HTTP/2, which sends several requests on one connection, there is no gate: only the second holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections import deque
from collections.abc import Generator
from math import inf
from typing import Any

from ..core.exception_groups import is_a
from .pool_waits import was_cancelled_in


def waited_for_pool(error: BaseException) -> bool:
    """Whether *error* cancelled a request that waited at the gate, or without a gate in the queue of httpcore."""
    return was_cancelled_in(error, f"{__name__}:enter", *(
        f"{core}._async.connection_pool:wait_for_connection" for core in ("httpcore", "httpcore2")))


class PoolGate:
    """Admits as many requests at once as a transport has connections. It belongs to the event loop that uses it."""

    def __init__(self, inner: Any, pool_timeout: type[Exception]) -> None:
        most = connections_of(inner)
        self._free = inf if most is None else most
        self._waiting: deque[asyncio.Future[None]] = deque()  # there is one only while nothing is free
        self._pool_timeout = pool_timeout

    def is_passed(self) -> bool:
        """Take a connection if one is free; else the request has to enter()."""
        if self._free > 0:
            self._free -= 1
            return True
        return False

    async def enter(self, request: Any) -> bool:
        """Wait until a connection is free, as long as the client's own pool timeout says; then it is_passed()."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout((request.extensions.get("timeout") or {}).get("pool")):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # it was given a connection in the same moment
                self.leave()
            else:
                with contextlib.suppress(ValueError):  # leave() was here
                    self._waiting.remove(turn)
            if is_a(error, TimeoutError):
                raise self._pool_timeout("all connections of the pool are in use") from None
            raise
        return True

    def leave(self) -> None:
        """The request has ended, and its response is closed: its connection is the next one's in the queue."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def connections_of(inner: Any) -> int | None:
    """How many requests the transport *inner* sends at once; None: not known, or several on one connection."""
    pool = getattr(inner, "_pool", None)  # nothing public says it
    most = getattr(pool, "_max_connections", None)
    return most if isinstance(most, int) and not getattr(pool, "_http2", True) else None


class Held(list[asyncio.CancelledError]):
    """The cancellation that is held back from a request, or nothing. For one task."""

    __slots__ = ("_requests",)

    def keep(self, error: asyncio.CancelledError) -> None:
        """Hold *error* back, unless another one is held back already."""
        if not self:
            self.append(error)
            self._requests = _cancelling()

    def take(self) -> asyncio.CancelledError | None:
        """Let go of the cancellation that there is; None: whoever asked for it has taken it back meanwhile.

        That is what a timeout does, such as anyio's within httpcore, when what it is around has ended.
        """
        error = self.pop()
        return error if _cancelling() >= self._requests else None

    def release(self) -> None:
        """Raise the cancellation that there is, unless it has been taken back."""
        error = self.take()
        if error is not None:
            raise error from None


def _cancelling() -> int:
    """How many requests to cancel the current task are pending."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


@types.coroutine
def unbroken(inner: Any, held: Held) -> Generator[Any, None, Any]:
    """Await *inner*, and hold a cancellation back while that waits for nothing, or for the lock of what it closes.

    A second cancellation is not held back: anyio repeats its own until it is heard.

    Args:
        inner: What is awaited.
        held: The cancellation that was held back is put here, and stays here if *inner* ended without another wait;
            the caller is to release it then.
    """
    send, throw = inner.send, inner.throw
    error: BaseException | None = None
    while True:
        try:
            awaited = send(None) if error is None else throw(error)
        except StopIteration as end:
            return end.value
        except BaseException:
            if held:  # it came before what failed could tell anybody
                held.release()
            raise
        error = None
        if awaited is not None and _waits_to_close(inner):
            yield from _uncancelled(awaited, held)
            continue
        try:
            if awaited is None or not held or (error := held.take()) is None:
                yield awaited
            else:
                awaited.cancel()  # as Task.cancel() does
                awaited._asyncio_future_blocking = False
        except asyncio.CancelledError as cancelled:
            if awaited is None and not held:
                held.keep(cancelled)
            else:
                error = cancelled
        except BaseException as thrown:  # noqa: BLE001 - all of it goes on to the inner one
            error = thrown


def _waits_to_close(inner: Any) -> bool:
    """Whether a coroutine that is suspended waits for the lock of a connection whose response it closes."""
    wanted = "_response_closed"
    while (code := getattr(inner, "cr_code", None)) is not None:
        if code.co_name == wanted:
            if wanted == "acquire":
                return True
            wanted = "acquire"
        inner = inner.cr_await
    return False


def _uncancelled(awaited: asyncio.Future[Any], held: Held) -> Generator[Any, None, None]:
    """Wait for a future that no cancellation of the task reaches; the first one is put into *held*."""
    awaited._asyncio_future_blocking = False
    while not awaited.done():
        turn = awaited.get_loop().create_future()
        awaited.add_done_callback(lambda _, turn=turn: turn.done() or turn.set_result(None))  # type: ignore[misc]
        try:
            yield from turn
        except asyncio.CancelledError as cancelled:
            held.keep(cancelled)
