"""Request statistics: how many requests each route, service and consumer had, how they ended, and how long they took.

They are counted for ever, as Prometheus wants it. Routes and services come from the configuration, so their number is
bounded. Consumers do not: the MAX_CONSUMERS that ask most have series of their own, and all others are counted
together, as "other". Who asks more than the least of those with a series takes its place, and what that one
had is added to the others; so no sum ever falls.

The private listener has statistics of its own, whose series have one label more: listener="private". Those of the
public listener have none, which is the same as an empty one: so no series changes its name when a private listener
comes or goes.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from ...core.histogram import LE_BOUNDS
from ...metrics.exports import as_utf8
from ...registry import Registry
from ..change import Act, LastingParts, at_once
from .observed_request import ObservedRequest

#: Consumers with a series of their own.
MAX_CONSUMERS: Final = 100
OTHER: Final = "other"
#: Of a request that no route has.
NO_ROUTE: Final = "none"
#: Others that are counted apart, to know who has outgrown one with a series.
_CANDIDATES: Final = 1000
#: By the first digit of the status; 0: none was sent, since the client left.
_CLASSES: Final = {0: "client_gone", 1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}
_BOUNDS: Final = [*(f"{bound:g}" for bound in LE_BOUNDS), "+Inf"]


#: The requests of one route to one service: by the first digit of their status, by how long they took, and sums. One
#: list, since among thousands of routes each object more is one that no cache of the processor has.
_Route = list[Any]
_FIRST_BUCKET: Final = 10
_SECONDS: Final = _FIRST_BUCKET + len(LE_BOUNDS) + 1
_BYTES_IN, _BYTES_OUT = _SECONDS + 1, _SECONDS + 2
_NONE: Final[_Route] = [*[0] * _SECONDS, 0.0, 0, 0]


class _Consumer:
    """The requests of one consumer by class of status; how many it had, those included that were counted elsewhere."""

    __slots__ = ("statuses", "weight")

    def __init__(self, weight: int) -> None:
        self.statuses: dict[int, int] = {}
        self.weight = weight


class RequestStatistics:
    """Counts requests. For one thread; collect() may be called from any."""

    def __init__(self, max_consumers: int = MAX_CONSUMERS, *, listener: str | None = None) -> None:
        self._listener = {} if listener is None else {"listener": as_utf8(listener)}
        self._routes: dict[tuple[str | None, str | None], _Route] = {}
        self._max_consumers = max_consumers
        self._consumers: dict[str, _Consumer] = {}
        self._others = _Consumer(0)
        self._candidates: dict[str, int] = {}

    def count(self, observed: ObservedRequest) -> None:
        """Count one request that has ended."""
        key, kind, duration_s = (observed.route, observed.service), observed.status // 100, observed.duration_s
        try:
            route = self._routes[key]
        except KeyError:
            route = self._routes[key] = [*_NONE]
        route[kind] += 1
        route[_FIRST_BUCKET + bisect_left(LE_BOUNDS, duration_s)] += 1
        route[_SECONDS] += duration_s
        route[_BYTES_IN] += observed.received
        route[_BYTES_OUT] += observed.sent
        if observed.consumer is not None:
            self._count_consumer(observed.consumer, kind)

    def _count_consumer(self, name: str, kind: int) -> None:
        consumer = self._consumers.get(name)
        if consumer is None and name != OTHER:
            if len(self._consumers) < self._max_consumers:
                consumer = self._consumers[name] = _Consumer(0)
            else:
                consumer = self._nominated(name)
        if consumer is None:
            consumer = self._others
        consumer.weight += 1
        consumer.statuses[kind] = consumer.statuses.get(kind, 0) + 1

    def _nominated(self, name: str) -> _Consumer | None:
        """One of the others asks; give it a series of its own if it has outgrown another's."""
        candidates = self._candidates
        if name not in candidates and len(candidates) >= _CANDIDATES:
            # The space saving algorithm (Metwally and others, 2005): whoever came least often makes room, and leaves
            # its count as an upper bound of what was missed.
            least = min(candidates, key=candidates.__getitem__)
            candidates[name] = candidates.pop(least)
        seen = candidates[name] = candidates.get(name, 0) + 1
        if seen & (seen - 1):  # looked at when it has doubled
            return None
        loser = min(self._consumers, key=lambda each: self._consumers[each].weight)
        if self._consumers[loser].weight >= seen:
            return None
        for kind, count in self._consumers.pop(loser).statuses.items():
            self._others.statuses[kind] = self._others.statuses.get(kind, 0) + count
        del candidates[name]
        winner = self._consumers[name] = _Consumer(seen)
        return winner

    def collect(self) -> Iterator[Metric]:
        """The metrics at this moment; of one route after another: who reads many can pause between."""
        if not self._routes:
            yield from self._of_route((None, None), None)
        for name, route in list(self._routes.items()):
            yield from self._of_route(name, route)
        yield self._of_consumers()

    def _of_route(self, key: tuple[str | None, str | None], route: _Route | None) -> tuple[Metric, ...]:
        """The metrics of one route; without one, their heads."""
        names = (*self._listener, "route", "service")
        requests = CounterMetricFamily(
            "resilience_gateway_requests", "Requests by how they were answered.", labels=(*names, "status"))
        durations = HistogramMetricFamily(
            "resilience_gateway_request_duration_seconds", "From a request's head to its answer's end.", labels=names)
        received = CounterMetricFamily("resilience_gateway_request_bytes", "Bytes of requests' bodies.", labels=names)
        sent = CounterMetricFamily("resilience_gateway_response_bytes", "Bytes of answers' bodies.", labels=names)
        if route is not None:
            labels = [*self._listener.values(), as_utf8(key[0] or NO_ROUTE), as_utf8(key[1] or "")]
            route = [*route]  # at once: it may be counted meanwhile
            for kind, count in enumerate(route[:_FIRST_BUCKET]):
                if count:
                    requests.add_metric([*labels, _CLASSES.get(kind, OTHER)], count)
            buckets = list(zip(_BOUNDS, accumulate(route[_FIRST_BUCKET:_SECONDS]), strict=True))
            durations.add_metric(labels, buckets, route[_SECONDS])
            received.add_metric(labels, route[_BYTES_IN])
            sent.add_metric(labels, route[_BYTES_OUT])
        return requests, durations, received, sent

    def _of_consumers(self) -> Metric:
        family = CounterMetricFamily(
            "resilience_gateway_consumer_requests", "Requests by who asked.",
            labels=(*self._listener, "consumer", "status"))
        for name, consumer in [*self._consumers.items(), (OTHER, self._others)]:
            for kind, count in sorted(consumer.statuses.items()):
                family.add_metric([*self._listener.values(), as_utf8(name), _CLASSES.get(kind, OTHER)], count)
        return family


def _collect(listeners: Mapping[str | None, RequestStatistics]) -> Iterator[Metric]:
    for each in list(listeners.values()):
        yield from each.collect()


_listeners: Final = LastingParts[str | None, RequestStatistics](_collect)


def statistics_of(registry: Registry, listener: str | None = None,
                  once_in_force: Callable[[Act], object] = at_once) -> RequestStatistics:
    """The statistics of one listener of the gateways with this *registry*; they outlive one that a file removes.

    Args:
        registry: Of the gateways.
        listener: None: the public one.
        once_in_force: See FilterHost.
    """
    statistics = _listeners.of(registry).get(listener) or RequestStatistics(listener=listener)
    once_in_force(functools.partial(_listeners.put, registry, listener, statistics))
    return statistics
