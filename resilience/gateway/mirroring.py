"""Mirrors: copies of a route's requests, sent to another service, whose answers nobody reads.

A copy is a task of its own, begun when the request's body is there, and is guarded by that service's own command.
Nothing that happens to it is seen by the client: it delays nothing and fails nothing. Copies are bounded in number,
in size (a request whose body is streamed has none), and in what is read of their answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ..errors import ResilienceError
from .held_answers import Answer
from .request_body import within
from .service import Service
from .upstream import InvalidRequestError, Request, UpstreamError, UpstreamStalledError

#: An answer that is longer is cut off, and its connection with it.
_MAX_ANSWER_BYTES: Final = 1024 * 1024


class Mirror:
    """Copies the requests of one route. For one event loop.

    Attributes:
        service: Gets the copies.
        left_out: How many requests had no copy since too many were under way.
    """

    __slots__ = ("_max_concurrent", "_random", "_share", "_tasks", "left_out", "service")

    def __init__(self, service: Service, share: float, max_concurrent: int, random: Callable[[], float],
                 before: Mirror | None = None) -> None:
        """Nothing is copied yet.

        Args:
            service: Gets the copies.
            share: Of the requests that are copied.
            max_concurrent: Copies under way at once.
            random: Draws for the share: a number from 0 to 1, 1 excluded.
            before: The one of the same route in the former configuration, whose copies under way count; None: none.
        """
        self.service, self.left_out = service, 0
        self._share, self._max_concurrent, self._random = share, max_concurrent, random
        self._tasks: set[asyncio.Task[None]] = (
            before._tasks if before is not None and before.service.name == service.name else set())

    def copy(self, request: Request) -> None:
        """Send a copy of *request*, which has its body, if this one is to have one; returns at once."""
        largest = self.service.max_body
        if self._random() >= self._share or (largest is not None and len(request.body or b"") > largest):
            return
        if len(self._tasks) >= self._max_concurrent:
            self.left_out += 1
            return
        # Nothing of the client's connection.
        bare = Request(method=request.method, target=request.target, host=request.host, headers=request.headers,
                       length=request.length, body=request.body, client=request.client)
        task = asyncio.get_running_loop().create_task(self._send_in_time(bare))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_in_time(self, request: Request) -> None:
        with self.service.bounded(request):
            await self._send(request)

    async def _send(self, request: Request) -> None:
        try:
            attempts = self.service.attempts(request)
        except ResilienceError:
            return
        try:
            exchange = await attempts.answered()
            try:
                await self._read(exchange)
            except UpstreamError as error:
                exchange.failure = error
            if exchange.complete or exchange.failure is not None:
                await attempts.settled()
        except (ResilienceError, UpstreamError, InvalidRequestError):
            pass  # that service's statistics have it
        finally:
            await attempts.close()

    async def _read(self, exchange: Answer) -> None:
        """Read the answer to its end, or as much as is read of any."""
        left = _MAX_ANSWER_BYTES
        while not exchange.complete and left > 0:
            await within(self.service.idle, exchange.more(), lambda: UpstreamStalledError("stopped"))
            left -= len(exchange.take())
        exchange.take()
