"""SimulatedGateway: the gateway's own machines around one service, without sockets, tasks and compiled functions.

What decides is real: the endpoint set with its balancer, ejection and subsets, the retry state of a request over the
endpoints, the retry budget, and per endpoint or per service the circuit, the throttle and the adaptive limit. The way
of a request is that of gateway/attempts.py and gateway/outcomes.py, callback by callback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from resilience.core.adaptive import AdaptiveLimit, AdaptiveLimiter
from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.outcome import CANCELLED, FAILURE, REJECTED, SUCCESS, TIMEOUT
from resilience.core.throttle import Throttle, Throttler
from resilience.discovery import Instance
from resilience.errors import RejectedError
from resilience.gateway.balancing import BalancerOptions, Ejection, EndpointSet, EndpointState, balancer
from resilience.gateway.balancing.retry_state import Ending, Repetition, RetryDecision, RetryState
from resilience.gateway.balancing.subsets import subset
from resilience.gateway.services.retry_terms import RetryTerms

from .instances import SimulatedInstance
from .world import World

#: Requests in flight with which an endpoint is full: the usual ``max_concurrent`` of a service.
FULL = 100


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """What a service's table says; the defaults are the gateway's.

    Attributes:
        timeout: Of one attempt, seconds.
        retry: What is sent again; None: nothing.
        ejection: When an endpoint is left out; None: never.
        breaker: None: there is no circuit.
        whole: Of the service, around whole requests, beside those of its endpoints; None: there is none.
        throttle: None: there is none.
        adaptive_limit: None: there is none.
        is_per_endpoint: Whether each endpoint has its own circuit, throttle and limit.
        balancer: Its name.
        subset: How many endpoints each gateway uses; None: all.
    """

    timeout: float = 1.0
    retry: Repetition | None = attrs.field(factory=Repetition)
    ejection: Ejection | None = attrs.field(factory=Ejection)
    breaker: CircuitBreaker | None = attrs.field(factory=CircuitBreaker)
    whole: CircuitBreaker | None = attrs.field(factory=CircuitBreaker)
    throttle: Throttle | None = None
    adaptive_limit: AdaptiveLimit | None = None
    is_per_endpoint: bool = True
    balancer: str = "round_robin"
    subset: int | None = None


class Guard:
    """The machines of one command, in their order: circuit, throttle, adaptive limit."""

    __slots__ = ("_limiter", "_throttler", "circuit")

    def __init__(self, settings: GatewaySettings, key: str, world: World) -> None:
        now = world.now()
        self.circuit: Circuit | None = None
        self._throttler = self._limiter = None
        if settings.breaker is not None:
            self.circuit = Circuit(settings.breaker, key=key, group=key, now=now, emit=_ignore, random=world.random)
        if settings.throttle is not None:
            self._throttler = Throttler(settings.throttle, key=key, now=now)
        if settings.adaptive_limit is not None:
            self._limiter = AdaptiveLimiter(settings.adaptive_limit, key=key, now=now)

    def acquire(self, now: float, u: float) -> tuple[Any, Any]:
        """Permits for one attempt.

        Raises:
            RejectedError: One of the machines refuses.
        """
        term = None if self.circuit is None else self.circuit.acquire(now)
        try:
            if self._throttler is not None:
                self._throttler.acquire(now, u)
            return term, None if self._limiter is None else self._limiter.acquire(now)
        except RejectedError:
            if self.circuit is not None:
                self.circuit.settle(term, REJECTED, now, now)  # type: ignore[arg-type]
            raise

    def refuses(self, now: float) -> bool:
        """Whether the circuit lets nobody pass for sure. See gateway/open_circuits.py."""
        return self.circuit is not None and self.circuit.term.refuses_until > now

    def settle(self, permits: tuple[Any, Any], outcome: int, started: float, now: float) -> None:
        """The attempt has ended."""
        if self._limiter is not None:
            self._limiter.settle(permits[1], outcome, started, now)
        if self._throttler is not None:
            self._throttler.settle(None, outcome, started, now)
        if self.circuit is not None:
            self.circuit.settle(permits[0], outcome, started, now)


def _ignore(_: object) -> None:
    """Nobody listens to the circuits."""


class SimulatedEndpoint(EndpointState):
    """An endpoint, as one gateway knows it."""

    __slots__ = ("guard", "instance")
    guard: Guard | None

    def __init__(self, instance: SimulatedInstance) -> None:
        super().__init__(instance.name, zone=instance.zone)
        self.instance = instance
        self.guard = None  # made when it is asked for the first time


class SimulatedGateway:
    """One gateway of the fleet, with one service.

    Attributes:
        name: By which it chooses its subset.
        endpoints: As it knows them.
        retry: What is sent again.
        is_cut_off: Whether its own network is broken: nothing of what it sends arrives.
    """

    endpoints: EndpointSet[SimulatedEndpoint]

    def __init__(self, world: World, name: str, zone: str, settings: GatewaySettings,
                 known: Callable[[str], SimulatedInstance]) -> None:
        """A gateway that knows nobody yet.

        Args:
            world: Where it is.
            name: Different for each.
            zone: Where it stands.
            settings: Of the service.
            known: The instance at a URL.
        """
        self.world, self.name, self.zone, self.settings, self._known = world, name, zone, settings, known
        self.is_cut_off = False
        self.retry = RetryTerms(settings.retry, world.now)
        self._balancer = balancer(settings.balancer, BalancerOptions(zone=zone, seed=world.random()))
        self._shared = None if settings.is_per_endpoint else Guard(settings, "service", world)
        self.circuit: Circuit | None = None
        if settings.is_per_endpoint and settings.whole is not None:
            self.circuit = Circuit(settings.whole, key="service", group="service", now=world.now(), emit=_ignore,
                                   random=world.random)
        self.endpoints = EndpointSet((), self._balancer, settings.ejection, None, world.now(), FULL)

    # -- as discovery.watch.Follower

    def prepare(self, instances: Sequence[Instance]) -> Iterator[None]:
        """Nothing needs to be made before."""
        return iter(())

    def follow(self, instances: Iterable[Instance]) -> None:
        """Have these instances from now on, and what is known of those that stay."""
        urls = {each.name: each.url for each in instances}
        size = self.settings.subset
        if size is not None and size < len(urls):
            used = subset(urls, size, self.name)
            urls = {name: url for name, url in urls.items() if name in used}
        before: Mapping[str, SimulatedEndpoint] = {each.name: each for each in self.endpoints.states}
        states = [before.get(name) or SimulatedEndpoint(self._known(url)) for name, url in urls.items()]
        self.endpoints = EndpointSet(
            states, self._balancer, self.settings.ejection, None, self.world.now(), FULL)

    def heard(self) -> None:
        """Nothing is drained here."""

    def refuses(self) -> bool:
        """Whether all circuits are open, so that there is nobody to ask. See gateway/open_circuits.py."""
        now = self.world.now()
        if self._shared is not None:
            return self._shared.refuses(now)
        return all(each.guard is not None and each.guard.refuses(now) for each in self.endpoints.states)

    def guard_of(self, endpoint: SimulatedEndpoint) -> Guard:
        """The machines around what is sent to an *endpoint*."""
        if self._shared is not None:
            return self._shared
        if endpoint.guard is None:
            endpoint.guard = Guard(self.settings, endpoint.name, self.world)
            endpoint.circuit = endpoint.guard.circuit
        return endpoint.guard


class ObservedRequest:
    """One request on its way through a gateway. See gateway/attempts.py."""

    __slots__ = ("_attempt", "_began", "_has_failed", "_retry_state", "_endpoint", "_gateway", "_is_repeatable", "_over", "_permit",
                 "_permits", "_sent", "_term")

    def __init__(self, gateway: SimulatedGateway, over: Callable[[bool], None], *, is_repeatable: bool = True) -> None:
        """A request comes.

        Args:
            gateway: Where.
            over: Is told whether there is a good answer.
            is_repeatable: Whether it may be sent twice.
        """
        self._gateway, self._over, self._is_repeatable = gateway, over, is_repeatable
        self._attempt = 0
        self._retry_state: RetryState | None = None
        self._permits = self._term = None
        self._has_failed = False
        if gateway.refuses() or not self._is_admitted():
            gateway.retry.begun()
            gateway.world.slice.refused += 1
            over(False)
        else:
            self._begin(None)

    def leave(self) -> None:
        """The client has gone: what is under way is given up."""
        is_under_way = self._permits is not None
        if is_under_way:
            self._settle(CANCELLED)
            self._left()
        if self._retry_state is not None:
            self._retry_state.stop(was_sent=is_under_way and self._sent)
        self._attempt = -1
        self._weigh(FAILURE if self._has_failed else CANCELLED)

    # -- as instances.Caller

    def answered(self, attempt: int, status: int) -> None:
        """See Caller."""
        if attempt != self._attempt or self._permits is None:
            return
        if status >= 500:
            self._settle(FAILURE)
            self._failed(Ending.STATUS)
            return
        self._settle(SUCCESS)
        gateway, endpoint = self._gateway, self._endpoint
        endpoint.in_flight -= 1
        if endpoint.failures or self._permit is not None:
            now, was_left_out = gateway.world.now(), not endpoint.rest.calm
            gateway.endpoints.ejector.succeeded(endpoint, self._permit, now)
            if was_left_out and endpoint.rest.calm:
                gateway.endpoints.changed()
        else:
            endpoint.good += 1
        self._weigh(SUCCESS)
        self._over(True)

    def unsent(self, attempt: int) -> None:
        """See Caller."""
        if attempt == self._attempt and self._permits is not None:
            self._settle(FAILURE)
            self._failed(Ending.UNSENT)

    def broken(self, attempt: int) -> None:
        """See Caller."""
        if attempt == self._attempt and self._permits is not None:
            self._settle(FAILURE)
            self._failed(Ending.BROKEN)

    def _late(self, attempt: int) -> None:
        if attempt == self._attempt and self._permits is not None:
            self._settle(TIMEOUT)
            self._failed(Ending.LATE if self._sent else Ending.UNSENT)

    # -- within

    def _begin(self, same: SimulatedEndpoint | None) -> None:
        gateway, world = self._gateway, self._gateway.world
        self._permit = self._permits = None
        self._attempt += 1
        if same is None:
            chosen = self._chosen()
            if chosen is None:
                self._fail()
                return
            self._endpoint, self._permit = chosen
        endpoint, now = self._endpoint, world.now()
        endpoint.in_flight += 1
        try:
            self._permits = gateway.guard_of(endpoint).acquire(now, world.random())
        except RejectedError:
            world.slice.refused += 1
            self._failed(Ending.REFUSED)
            return
        self._began = now
        world.later(gateway.settings.timeout, self._late, self._attempt)
        instance = endpoint.instance
        self._sent = not gateway.is_cut_off and instance.process.value != "silent"
        if not gateway.is_cut_off:
            instance.ask(self, self._attempt)

    def _chosen(self) -> tuple[SimulatedEndpoint, Any] | None:
        gateway, retry_state = self._gateway, self._retry_state
        endpoints, world = gateway.endpoints, gateway.world
        if retry_state is None:
            gateway.retry.begun()
            if endpoints.turns is not None and (endpoint := next(endpoints.turns)).in_flight < endpoints.limit:
                return endpoint, None
        return endpoints.choose(world.now(), world.random(), None, () if retry_state is None else retry_state.tried)

    def _settle(self, outcome: int) -> None:
        gateway, permits = self._gateway, self._permits
        assert permits is not None
        self._permits = None
        gateway.guard_of(self._endpoint).settle(permits, outcome, self._began, gateway.world.now())

    def _left(self) -> None:
        gateway, endpoint = self._gateway, self._endpoint
        endpoint.in_flight -= 1
        gateway.endpoints.ejector.left(endpoint, self._permit, gateway.world.now())

    def _failed(self, ending: Ending) -> None:
        gateway, endpoint, world = self._gateway, self._endpoint, self._gateway.world
        now, endpoints = world.now(), gateway.endpoints
        if ending is Ending.REFUSED:
            self._left()
        else:
            endpoint.in_flight -= 1
            self._has_failed = True
            if endpoints.ejector.failed(endpoint, self._permit, now):
                endpoints.changed()
        if not endpoint.is_calm:
            endpoints.changed()
        if ending is Ending.REFUSED and not gateway.settings.is_per_endpoint:
            self._fail()
            return
        retry_state, retry = self._retry_state, gateway.retry
        if retry_state is None:
            is_repeatable = self._is_repeatable or (retry.settings is not None and retry.settings.repeatable)
            retry_state = self._retry_state = RetryState(retry.settings, retry.delays, retry.budget, is_repeatable)
        has_other = any(state is not endpoint and state not in retry_state.tried and not state.refuses(now)
                        for state in endpoints.states)
        move, delay = retry_state.after(ending, endpoint, None, has_other, now, world.random())
        if move is RetryDecision.STOP:
            retry_state.stop()
            self._attempt += 1
            self._fail()
        elif delay:
            world.later(delay, self._again, self._attempt, endpoint)
        else:
            self._begin(endpoint if move is RetryDecision.SAME else None)

    def _is_admitted(self) -> bool:
        """Whether the circuit of the service lets it pass."""
        circuit = self._gateway.circuit
        if circuit is None:
            return True
        try:
            self._term = circuit.acquire(self._gateway.world.now())
        except RejectedError:
            return False
        return True

    def _weigh(self, outcome: int) -> None:
        """Tell the circuit of the service how the request has ended."""
        circuit, term = self._gateway.circuit, self._term
        if circuit is not None and term is not None:
            self._term = None
            now = self._gateway.world.now()
            circuit.settle(term, outcome, now, now)

    def _fail(self) -> None:
        """There is no good answer."""
        self._weigh(FAILURE if self._has_failed else REJECTED)
        self._over(False)

    def _again(self, attempt: int, endpoint: SimulatedEndpoint) -> None:
        if attempt == self._attempt:
            self._begin(endpoint)
