"""Observer: looks at every request when it comes and when it has ended, for access log, statistics and traces.

A gateway without any of these has no observer, and pays for none. One that has tells it three things: that a request
came (begin()), which route it takes (routed()), and that it is over (end()).
"""

from __future__ import annotations

import contextlib
import random
import secrets
import string
import time
from collections.abc import Callable
from typing import Final, cast

from ..client_addresses import ClientAddresses
from ..config.observing import AccessLogSettings, TracingSettings
from ..messages.exchange import Header, Request
from ..messages.headers import folded, without
from ..messages.inbound import Inbound, RefusedRequest, RequestHead
from .access_log import AccessLog
from .observed_request import ObservedRequest
from .request_statistics import RequestStatistics
from .spans import Spans
from .trace_context import TRACEPARENT, TRACESTATE, Trace, begun, continued

_ID_MARKS: Final = frozenset((string.ascii_letters + string.digits + "-_.:+/=@").encode())
#: Characters of a request's id that is kept.
MAX_ID: Final = 128


class Tracer:
    """Says which trace and which id a request has. For one thread."""

    def __init__(self, settings: TracingSettings, addresses: ClientAddresses,
                 bits: Callable[[int], int] = random.Random(secrets.randbits(128)).getrandbits,  # noqa: B008, S311
                 chance: Callable[[], float] = random.random) -> None:
        self._settings, self._addresses, self._bits, self._chance = settings, addresses, bits, chance
        self._id_name = settings.request_id.lower().encode() if settings.request_id else None
        self._names = frozenset(name for name in (self._id_name, TRACEPARENT, TRACESTATE) if name is not None)
        self._folded = frozenset(map(folded, self._names))
        self._sizes = frozenset(map(len, self._names))
        self._spans = Spans() if settings.opentelemetry else None

    def begin(self, observed: ObservedRequest) -> None:
        """Find the trace and the id of a request that came."""
        found = self._stated(observed)
        if found and not self._trusts(observed.head):
            found = []
        trace: Trace | None = None
        if found:
            trace = continued([value for name, value in found if name == TRACEPARENT],
                              [value for name, value in found if name == TRACESTATE], self._bits)
        if trace is None:
            trace = begun(self._bits, sampled=self._settings.sample >= 1.0 or self._chance() < self._settings.sample)
        if self._spans is not None:
            trace = self._spans.begin(observed, trace)
        observed.trace = trace
        if self._id_name is not None:
            given = [value for name, value in found if name == self._id_name]
            kept = given[0] if len(given) == 1 and id_is_fit(given[0]) else trace.trace_id.encode()
            observed.request_id = kept.decode("ascii")
            observed.add_answer_headers((self._id_name, kept))

    def _stated(self, observed: ObservedRequest) -> list[Header]:
        """What a request says of its trace and its id; noted is whether an upstream could find any of it there."""
        names, sizes, found = self._names, self._sizes, list[Header]()
        for header in observed.head.headers:
            if len(header[0]) in sizes:
                if header[0] in names:
                    found.append(header)
                    observed.states_trace = True
                elif folded(header[0]) in self._folded:
                    observed.states_trace = True
        return found

    def to_upstream(self, observed: ObservedRequest, request: Request) -> None:
        """Let *request* carry the trace and the id."""
        trace = observed.trace
        if trace is None:
            return
        headers = without(request.headers, self._folded) if observed.states_trace else list(request.headers)
        headers += trace.headers()
        if self._id_name is not None and observed.request_id is not None:
            headers.append((self._id_name, observed.request_id.encode()))
        request.headers = headers

    def end(self, observed: ObservedRequest) -> None:
        """A request is over."""
        if self._spans is not None:
            self._spans.end(observed)

    def _trusts(self, head: RequestHead) -> bool:
        trust = self._settings.trust
        return trust == "all" or (trust == "proxies" and self._addresses.peer_is_trusted(head))


def id_is_fit(value: bytes) -> bool:
    """Whether a request's id is short, and of characters that mean nothing anywhere."""
    return 0 < len(value) <= MAX_ID and _ID_MARKS.issuperset(value)


class Observer:
    """What a gateway tells of its requests. For one event loop.

    Attributes:
        statistics: Of requests; None: they are not kept.
        access_log: None: there is none.
    """

    def __init__(self, addresses: ClientAddresses, *, statistics: RequestStatistics | None = None,
                 access_log: AccessLog | None = None, tracer: Tracer | None = None, listener: str | None = None,
                 clock: Callable[[], float] = time.perf_counter, wall: Callable[[], float] = time.time) -> None:
        self._addresses, self._tracer, self._clock, self._wall = addresses, tracer, clock, wall
        self.statistics, self.access_log, self._listener = statistics, access_log, listener

    def of_listener(self, listener: str, statistics: RequestStatistics | None) -> Observer:
        """What is told of the requests of another *listener*: log and traces are the same, *statistics* its own."""
        return Observer(self._addresses, statistics=statistics, access_log=self.access_log, tracer=self._tracer,
                        listener=listener, clock=self._clock, wall=self._wall)

    def begin(self, inbound: Inbound) -> ObservedRequest:
        """A request came: serve what this returns instead of *inbound*."""
        observed = ObservedRequest(inbound, self._clock)
        if self._listener is not None:
            observed.listener = self._listener
        if self._tracer is not None:
            self._tracer.begin(observed)
        return observed

    def refused(self, request: RefusedRequest) -> None:
        """A request was answered before it could be served; it has neither a trace nor an id."""
        observed = ObservedRequest(cast("Inbound", _Refused(request.head)), self._clock)
        observed.listener, observed.refused = self._listener, request.reason
        observed.status, observed.sent, observed.complete = request.status, request.sent, True
        self.end(observed)

    def routed(self, observed: ObservedRequest, route: str | None, service: str, request: Request) -> None:
        """A request takes this *route* to this *service*."""
        observed.route, observed.service = route, service
        if self._tracer is not None:
            self._tracer.to_upstream(observed, request)

    def end(self, observed: ObservedRequest) -> None:
        """A request is over, however it ended."""
        observed.duration_s = self._clock() - observed.began
        if observed.endings:
            _end(observed)
        if self.statistics is not None:
            self.statistics.count(observed)
        if self._tracer is not None:
            self._tracer.end(observed)
        log = self.access_log
        if log is not None and log.wants(observed):
            observed.ended = self._wall()
            if observed.client is None:
                observed.client = self._addresses.client_of(observed.head)
            log.put(observed)

    def close(self, patience_s: float = 0.0) -> None:
        """Have written what waits to be, and wait for that so many seconds at most."""
        if self.access_log is not None:
            with contextlib.suppress(Exception):
                self.access_log.close(patience_s)


class _Refused:
    """What is left of a request that its server has answered: an observed request asks no more of it."""

    hop = None

    def __init__(self, head: RequestHead) -> None:
        self.head = head


def _end(observed: ObservedRequest, at: int = 0) -> None:
    """Call the endings of *observed*, from one on; each of them even if one before raises, as for an interrupt."""
    if at < len(observed.endings):
        try:
            observed.endings[at](observed)
        finally:
            _end(observed, at + 1)


def observer_of(access_log: AccessLogSettings | None, tracing: TracingSettings | None, addresses: ClientAddresses,
                statistics: RequestStatistics | None, *, is_needed: bool = False) -> Observer | None:
    """The observer that a configuration asks for; None if it asks for none, and none is needed otherwise."""
    if access_log is None and tracing is None and statistics is None and not is_needed:
        return None
    return Observer(
        addresses, statistics=statistics,
        access_log=None if access_log is None else AccessLog(access_log),
        tracer=None if tracing is None else Tracer(tracing, addresses))
