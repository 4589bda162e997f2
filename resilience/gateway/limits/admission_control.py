"""Admission control: load is shed before anything is spent on it, by importance and by tenant.

Two things turn requests away, each for what it alone can see:

- an *adaptive limit* for each service (core.adaptive), which measures how long the service takes to answer and finds
  out how many requests at once it bears. A short queue stands before it. A service that is slow or hangs fills its own
  limit and nobody else's;
- the *lag* of the event loop, which is the gateway's own load (limits.lag_shedder).

In both the most important requests go first, and tenants take turns. What is turned away gets a prepared answer: no
exception, no formatting, no upstream.

The time that counts is the upstream's, from the end of the request's body to the head of its answer: neither a slow
client nor a long stream makes a service look slow. The permit is held until the answer is over, and whatever ends
the request gives it back, since that is the request's ending.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from ...core.adaptive import AdaptiveLimit, AdaptiveLimiter
from ...core.admission_queue import level_of
from ...core.bulkhead import TOKEN
from ...core.outcome import BUSY, CANCELLED, FAILURE, REJECTED, SUCCESS, TIMEOUT
from ...drivers.admission_waiter import AdmissionWaiter
from ...errors import BulkheadFullError
from ...metrics.exports import as_utf8
from ...registry import Registry
from ..change import Act, LastingParts, at_once
from ..client_addresses import ClientAddresses
from ..config.shedding import SheddingSettings
from ..logs.observed_request import ObservedRequest
from ..messages.exchange import Header
from ..messages.problem import Problem
from .caller_keys import CallerKeys
from .lag_shedder import LagShedder
from .loop_lag import LoopLag
from .priorities import Priorities

Answer = tuple[int, Sequence[Header], bytes]
Label = tuple[str, str]

#: Why a request was turned away.
SHED: Final = "shed"
ALL: Final = "all"
_UNTOLD: Final = ("circuit_open", "full", "throttled", "rate_limited", SHED)


def overloaded() -> Problem:
    """What who is turned away is told."""
    return Problem(503, "there is too much to do; try again later", headers=[(b"retry-after", b"1")], reason=SHED)


_ANSWER: Final[Answer] = (503, *overloaded().response())


def _level_of(observed: ObservedRequest) -> int:
    return observed.level


def _tenant_of(observed: ObservedRequest) -> Hashable:
    return observed.tenant


class _ServiceLimit:
    """The adaptive limit of one service, or of all."""

    __slots__ = ("limiter", "name", "shed", "waiter")

    def __init__(self, name: str, settings: SheddingSettings, clock: Callable[[], float]) -> None:
        policy = _policy_of(settings)
        self.name = name
        self.limiter = AdaptiveLimiter(policy, key=name, now=clock())
        self.waiter = AdmissionWaiter(self.limiter, key=name, clock=clock, priorities=policy.priorities,
                                      fair_by=policy.fair_by)
        self.shed: Counter[tuple[int, str]] = Counter()  # by level and cause


def _policy_of(settings: SheddingSettings) -> AdaptiveLimit:
    return AdaptiveLimit(
        algorithm=settings.algorithm, initial=settings.initial, min_limit=settings.min_limit,
        max_limit=settings.max_limit, tolerance=settings.tolerance, reserved=settings.reserved,
        max_queue=settings.max_queue, max_queue_for=settings.max_queue_for, priorities=_level_of,
        fair_by=_tenant_of if _is_fair(settings) else None)


def _is_fair(settings: SheddingSettings) -> bool:
    return bool(settings.tenant and settings.max_queue)


class AdmissionControl:
    """Admits requests, or sheds them. For one event loop.

    Attributes:
        settings: What is shed, and by what.
        priorities: Says how important requests are.
        shedder: Sheds by the lag of the loop; None: nothing does.
    """

    def __init__(self, settings: SheddingSettings, addresses: ClientAddresses, *,
                 clock: Callable[[], float] = perf_counter, chance: Callable[[], float] = random.random) -> None:
        """Nobody is in yet.

        Args:
            settings: What is shed, and by what.
            addresses: Finds clients, and knows trusted peers.
            clock: Monotonic seconds; the one of the observed requests.
            chance: Returns random numbers in [0, 1).
        """
        self.settings, self._clock, self._chance = settings, clock, chance
        self._limits: dict[str, _ServiceLimit] = {}
        self.trust(addresses)
        self.shedder = None if settings.lag is None else LagShedder(settings.lag, clock())
        self._lag = None if self.shedder is None else LoopLag(self.shedder.sample, clock)

    def trust(self, addresses: ClientAddresses) -> None:
        """Find clients by *addresses* from now on."""
        settings = self.settings
        self.priorities = Priorities(settings.priority, settings.route_priority, settings.default_priority, addresses)
        self._tenant_of = CallerKeys(settings.tenant, addresses) if settings.tenant else None

    def take_over(self, former: AdmissionControl) -> None:
        """Go on in the place of a *former* one: with what its limits have learnt, and with who is in or waits.

        Only limits of another scope, and those whose waiting tenants take turns from now on, or do no more, begin anew.
        """
        before, settings = former.settings, self.settings
        if (before.scope, _is_fair(before)) == (settings.scope, _is_fair(settings)):
            self._limits = former._limits
            for limit in self._limits.values():
                limit.limiter.configure(_policy_of(settings), self._clock())
        if settings.lag is not None and former.shedder is not None:
            self.shedder, self._lag = former.shedder, former._lag
            self.shedder.target_s = settings.lag

    async def admit(self, observed: ObservedRequest) -> Answer | None:
        """Let a request in, now or after a short wait; else return what to answer."""
        level = observed.level = level_of(self.priorities(observed))
        if self._tenant_of is not None:
            observed.tenant = self._tenant_of(observed)
        limit = self._limit(observed.service or "")
        if self.shedder is not None and self._lag is not None:
            self._lag.touch()
            if not self.shedder.admits(level, observed.tenant, self._chance()):
                return self._shed(limit, observed, "lag")
        if not self.settings.adaptive:
            return None
        taken: list[list[None]] = []
        observed.add_ending(functools.partial(self._leave, limit, taken))  # first: a permit has an owner at all times
        try:
            if not limit.waiter.take(taken, (observed,), {}):
                await limit.waiter.wait_async(taken, (observed,), {})
        except BulkheadFullError:
            return self._shed(limit, observed, "limit")
        observed.admitted_at = self._clock()
        return None

    def collect(self, own: Mapping[str, str]) -> Iterable[Metric]:
        """The metrics at this moment, with labels of its *own*."""
        names = (*own, "service")
        shed = CounterMetricFamily("resilience_gateway_shed", "Requests that were shed.",
                                   labels=(*names, "priority", "cause"))
        most = GaugeMetricFamily("resilience_gateway_limit", "Requests that are admitted at once.", labels=names)
        admitted = GaugeMetricFamily("resilience_gateway_admitted", "Requests that are in flight.", labels=names)
        waiting = GaugeMetricFamily("resilience_gateway_waiting", "Requests that wait for admission.", labels=names)
        lag = GaugeMetricFamily("resilience_gateway_loop_lag_seconds", "How late the event loop comes round.",
                                labels=tuple(own))
        for limit in list(self._limits.values()):
            labels = [*own.values(), as_utf8(limit.name)]
            for (level, cause), count in sorted(limit.shed.items()):
                shed.add_metric([*labels, str(level), cause], count)
            if self.settings.adaptive:
                most.add_metric(labels, limit.limiter.limit)
                admitted.add_metric(labels, limit.limiter.in_flight)
                waiting.add_metric(labels, limit.limiter.waiting)
        if self.shedder is not None:
            lag.add_metric([*own.values()], self.shedder.lag_s)
        return shed, most, admitted, waiting, lag

    def _limit(self, service: str) -> _ServiceLimit:
        name = service if self.settings.scope == "service" else ALL
        limit = self._limits.get(name)
        if limit is None:
            limit = self._limits[name] = _ServiceLimit(name, self.settings, self._clock)
        return limit

    def _shed(self, limit: _ServiceLimit, observed: ObservedRequest, cause: str) -> Answer:
        limit.shed[observed.level, cause] += 1
        observed.refused = SHED
        return _ANSWER

    def _leave(self, limit: _ServiceLimit, taken: list[list[None]], observed: ObservedRequest) -> None:
        """A request is over: give its permit back, and report how long the upstream took."""
        if not taken:
            return
        limiter, now = limit.limiter, self._clock()
        permit = taken.pop()
        permit += TOKEN
        outcome, took_s = outcome_of(observed)
        limiter.report(outcome, now - took_s, now)


def outcome_of(observed: ObservedRequest) -> tuple[int, float]:
    """What a request that is over says of its service, and how long that took, seconds."""
    since, refused = observed.waited_at, observed.refused
    until = observed.head_at
    took_s = 0.0 if since is None or until is None else max(0.0, until - max(since, observed.admitted_at))
    if refused is None:
        if since is None or until is None:
            return CANCELLED, took_s
        if observed.status == 504:
            return TIMEOUT, took_s
        return (BUSY if observed.status == 503 else SUCCESS), took_s
    if refused in _UNTOLD or since is None:
        return REJECTED, took_s
    return (TIMEOUT if refused == "timeout" else FAILURE), took_s


def admission_control_of(registry: Registry, settings: SheddingSettings, addresses: ClientAddresses,
                         once_in_force: Callable[[Act], object] = at_once, label: Label | None = None
                         ) -> AdmissionControl:
    """The admission control with this *label* of the gateways with this *registry*: the same, while the settings are.

    By other settings it is another one, which takes over from it: a changed file does not forget what the limits have
    learnt, or who is in.

    Args:
        registry: Of the gateways.
        settings: What is to be in force.
        addresses: Finds clients, and knows trusted peers.
        once_in_force: See FilterHost.
        label: Of its metrics, and its value: the listener or the filter; None: the public listener.
    """
    known = _known.of(registry).get(label)
    control = AdmissionControl(settings, addresses) if known is None or known.settings != settings else known

    def come_into_force() -> None:
        if known is not None and known is not control:
            control.take_over(known)
        _known.put(registry, label, control)
        control.trust(addresses)

    once_in_force(come_into_force)
    return control


def _collect(controls: Mapping[Label | None, AdmissionControl]) -> Iterator[Metric]:
    for label, control in list(controls.items()):
        yield from control.collect({} if label is None else {label[0]: as_utf8(label[1])})


_known: Final = LastingParts[Label | None, AdmissionControl](_collect)
