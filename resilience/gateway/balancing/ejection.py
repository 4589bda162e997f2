"""Ejection: which endpoints are left out for a while, since they failed (passive health checks). Pure.

An endpoint is ejected after so many failures in a row, or if its success rate is an outlier: lower than the mean of
all by more than ``deviations`` standard deviations, and by ``distance`` at least, so that a service whose endpoints are
all nearly perfect loses none. It then rests (core.failover): after its time, one real request, the probe, goes there.
If that fails, it rests for twice as long. Each ``interval`` without an ejection halves the next time again.

Never more than ``max_share`` of the endpoints rest at once, though one may always, if there is another: what takes too
many endpoints out burdens the rest until they fail, too. And if less than the ``panic`` share is available for whatever
reason, all are asked.

What the client caused, and what our own limits refused, is told to nobody here.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import attrs

from ...core.checks import number
from ...core.failover import RestState, RestTerm
from .endpoint_state import EndpointState, RestTime

_MOST_DOUBLINGS = 16


@attrs.frozen(kw_only=True)
class Ejection:
    """The ``[services.NAME.ejection]`` table: when an endpoint that fails is left out.

    Attributes:
        consecutive: Failures in a row after which it is; None (``false``): however many.
        distance: Least difference of its success rate from the mean of all, for an outlier; None (``false``): there are
            none.
        deviations: The same in standard deviations.
        min_calls: Requests that each endpoint of a comparison has had within the interval.
        min_endpoints: Least number of endpoints that are compared.
        interval: Seconds between two looks at success rates.
        rest: Seconds for which it is left out; doubled each time that it fails again.
        max_rest: The longest that this grows to, and that an endpoint may ask for by Retry-After.
        max_share: Largest share of the endpoints that are left out at once; one may always be, if there are two.
        panic: If less than this share of the endpoints is available, all get requests.
    """

    consecutive: int | None = attrs.field(
        default=5, validator=number(least=1, most=1_000_000, whole=True, optional=True))
    distance: float | None = attrs.field(default=0.2, validator=number(above=0, most=1, optional=True))
    deviations: float = attrs.field(default=1.9, validator=number(least=0, most=100))
    min_calls: int = attrs.field(default=50, validator=number(least=1, most=1_000_000, whole=True))
    min_endpoints: int = attrs.field(default=3, validator=number(least=2, most=100_000, whole=True))
    interval: float = attrs.field(default=10.0, validator=number(above=0, most=86_400))
    rest: float = attrs.field(default=5.0, validator=number(above=0, most=86_400))
    max_rest: float = attrs.field(default=60.0, validator=number(above=0, most=86_400))
    max_share: float = attrs.field(default=0.5, validator=number(least=0, most=1))
    panic: float = attrs.field(default=0.3, validator=number(least=0, most=1))

    def rest_s(self, ejections: int) -> float:
        """Seconds for which an endpoint rests that was ejected so many times before."""
        return min(self.max_rest, self.rest * 2.0 ** min(ejections, _MOST_DOUBLINGS))

    def most_left_out(self, endpoints: int) -> int:
        """How many of so many *endpoints* may be left out at once."""
        return min(endpoints - 1, max(1, int(endpoints * self.max_share + 1e-9)))


class Ejector:
    """The machine of an Ejection, for the endpoints of one service. Of one event loop.

    One that takes the place of another, because the configuration has changed, ends the rests that there would not be
    by its own, and shortens those that would be shorter.
    """

    __slots__ = ("_look_at", "config", "states")

    def __init__(self, config: Ejection | None, states: Sequence[EndpointState], now: float) -> None:
        """An ejector.

        Args:
            config: None: no endpoint is ever left out but by its own wish.
            states: The endpoints of the service.
            now: The time, seconds.
        """
        self.config, self.states = config, states
        self._look_at = now + (config.interval if config is not None else 0.0)
        for state in states:
            if config is None:
                state.rest.release()
            else:
                state.rest.shorten(config.rest_s(max(0, state.ejections - 1)), config.max_rest, now)

    def succeeded(self, state: EndpointState, permit: RestTerm | None, now: float) -> None:
        """A request to the endpoint with this *state* was answered well."""
        state.good += 1
        state.failures = 0
        if permit is not None:
            self._settled(state, permit, True, now)

    def left(self, state: EndpointState, permit: RestTerm | None, now: float) -> None:
        """A request has ended in a way that says nothing of the endpoint."""
        if permit is not None:
            state.rest.settle(permit, None, now)

    def failed(self, state: EndpointState, permit: RestTerm | None, now: float) -> bool:
        """A request to the endpoint with this *state* has failed; whether any endpoint was ejected now."""
        state.bad += 1
        state.failures += 1
        config = self.config
        if permit is not None and permit.state is RestState.PROBING:
            self._settled(state, permit, False, now)
            return False
        if config is None:
            return False
        if config.consecutive is not None and state.failures >= config.consecutive and self._eject(state, now):
            return True
        return now >= self._look_at and self._look(now)

    def pause(self, state: EndpointState, seconds: float, now: float) -> None:
        """The endpoint asks to be left alone for so many *seconds*."""
        most = self.config.max_rest if self.config is not None else seconds
        state.rest.configure(RestTime(most))
        state.rest.pause(seconds, now)

    def _settled(self, state: EndpointState, permit: RestTerm, good: bool, now: float) -> None:
        if permit.state is not RestState.PROBING:
            return
        config = self.config or Ejection()
        if not good:
            state.ejections += 1
            state.rest.configure(RestTime(config.rest_s(state.ejections - 1)))
        state.rest.settle(permit, good, now)
        state.returned_at = now

    def _eject(self, state: EndpointState, now: float) -> bool:
        config = self.config
        assert config is not None
        if state.rest.state is not RestState.AVAILABLE:
            return False
        out = sum(each.rest.state is not RestState.AVAILABLE for each in self.states)
        if out >= config.most_left_out(len(self.states)):
            return False
        forgiven = int((now - state.returned_at) // config.interval)
        state.ejections = max(0, state.ejections - max(0, forgiven))
        state.rest.configure(RestTime(config.rest_s(state.ejections)))
        state.ejections += 1
        state.rest.stop(now)
        return True

    def _look(self, now: float) -> bool:
        """Eject those whose success rates are outliers; whether there were any."""
        config = self.config
        assert config is not None
        self._look_at = now + config.interval
        rates = {each: each.good / (each.good + each.bad) for each in self.states
                 if each.good + each.bad >= config.min_calls}
        for each in self.states:
            each.good = each.bad = 0
        if config.distance is None or len(rates) < config.min_endpoints:
            return False
        mean = sum(rates.values()) / len(rates)
        spread = sqrt(sum((rate - mean) ** 2 for rate in rates.values()) / len(rates))
        bound = mean - max(config.deviations * spread, config.distance)
        ejected = [self._eject(state, now) for state in sorted(rates, key=rates.__getitem__) if rates[state] < bound]
        return any(ejected)
