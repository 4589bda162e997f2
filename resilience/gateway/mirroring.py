"""Mirrors: copies of a route's requests, sent to another service, whose answers nobody reads.

A copy is a task of its own, begun when the request's body is there, and is guarded by that service's own command.
Nothing that happens to it is seen by the client: it delays nothing and fails nothing. Copies are bounded in number,
in size (a request whose body is streamed has none), and in what is read of their answers. Who operates the gateway sees
how many are in flight, and how many the bound has dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily

from ..errors import ResilienceError
from ..metrics.exports import as_utf8
from ..metrics.prometheus import OncePerRegistry
from .answers.held_answers import Answer
from .messages.exchange import InvalidRequestError, Request, UpstreamError, UpstreamStalledError
from .messages.request_body import within
from .services.service import Service

#: An answer that is longer is cut off, and its connection with it.
_MAX_ANSWER_BYTES: Final = 1024 * 1024


@attrs.define(eq=False)
class Copies:
    """The copies of one route's requests to one service, whatever configurations have made them.

    Attributes:
        in_flight: Those that have not ended.
        dropped: How many requests had no copy since too many were in flight.
    """

    in_flight: set[asyncio.Task[None]] = attrs.field(factory=set)
    dropped: int = 0


class Mirror:
    """Copies the requests of one route. For one event loop.

    Attributes:
        service: Gets the copies.
        copies: Those in flight, and how many were dropped.
    """

    __slots__ = ("_max_concurrent", "_random", "_share", "copies", "service")

    def __init__(self, service: Service, share: float, max_concurrent: int, random: Callable[[], float],
                 before: Mirror | None = None) -> None:
        """Nothing is copied yet.

        Args:
            service: Gets the copies.
            share: Of the requests that are copied.
            max_concurrent: Copies in flight at once.
            random: Draws for the share: a number from 0 to 1, 1 excluded.
            before: The one of the same route in the former configuration, whose copies count; None: none.
        """
        self.service = service
        self._share, self._max_concurrent, self._random = share, max_concurrent, random
        self.copies: Copies = before.copies if before is not None and before.service.name == service.name else Copies()

    def copy(self, request: Request) -> None:
        """Send a copy of *request*, which has its body, if this one is to have one; returns at once."""
        largest = self.service.max_body
        if self._random() >= self._share or (largest is not None and len(request.body or b"") > largest):
            return
        copies = self.copies
        if len(copies.in_flight) >= self._max_concurrent:
            copies.dropped += 1
            return
        # Nothing of the client's connection.
        bare = Request(method=request.method, target=request.target, host=request.host, headers=request.headers,
                       length=request.length, body=request.body, client=request.client)
        task = asyncio.get_running_loop().create_task(self._send_in_time(bare))
        copies.in_flight.add(task)
        task.add_done_callback(copies.in_flight.discard)

    def report(self) -> dict[str, Any]:
        """What there is to be told of it, as plain values."""
        return {"service": self.service.name, "in_flight": len(self.copies.in_flight),
                "max_concurrent": self._max_concurrent, "dropped": self.copies.dropped}

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


class MirrorMetrics:
    """What Prometheus is told of the mirrors of gateways with one registry. Written by one thread, read by any."""

    def __init__(self) -> None:
        self._listeners: dict[str | None, list[tuple[str, str, Copies]]] = {}

    def adopt(self, listener: str | None, mirrors: Mapping[str, Mirror]) -> None:
        """Export what the *mirrors* of a *listener* (None: the public one) drop, by their routes' names."""
        mine = [(route, each.service.name, each.copies) for route, each in mirrors.items()]
        self._listeners = {**self._listeners, listener: mine}  # in one step: a thread may be reading

    def collect(self) -> Iterator[Metric]:
        """The metrics at this moment; those of a private listener have one label more, as its requests have."""
        for listener, mirrors in self._listeners.items():
            own = {} if listener is None else {"listener": as_utf8(listener)}
            family = CounterMetricFamily(
                "resilience_gateway_mirror_dropped", "Requests that were not copied to the other service, because too "
                "many copies were in flight.", labels=[*own, "route", "service"])
            for route, service, copies in mirrors:
                family.add_metric([*own.values(), as_utf8(route), as_utf8(service)], copies.dropped)
            yield family


#: The metrics of the mirrors of gateways with one registry.
METRICS: Final = OncePerRegistry(MirrorMetrics)
