"""Services: the endpoints of one, and a guarded exchange with each.

What a guarded exchange is stands in exchanging.py.

Each endpoint has a command of its own, in the group of the service, or all share the service's (``command.per``). In
the first case the command under the service's name shows their sum (service_commands.py, service_total.py).
"""

from __future__ import annotations

import functools
import logging
import socket
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import inf

from ...discovery import Instance
from ...discovery.watch import Watch
from ...drivers.async_timeouts import AsyncTimeout
from ...drivers.deadline_context import DEADLINE_HEADER, deadline
from ...errors import CircuitOpenError
from ...registry import Registry, table_of
from ..answers.answer_terms import AnswerTerms
from ..answers.fallbacks import Fallbacks, fallbacks_of
from ..balancing import Balancer, BalancerOptions, EndpointSet, EndpointState, balancer
from ..balancing.subsets import subset
from ..config import ServiceConfig
from ..config.endpoints import EndpointConfig
from ..messages.exchange import Endpoint, Header, Request, UpstreamClient
from ..messages.named_values import header_value
from ..messages.request_body import Uploads
from .attempts import Attempts
from .awaited_list import AwaitedList, Succession
from .checker import Checker
from .hedging import HedgedAttempts
from .open_circuits import OpenCircuits, first_gate
from .outcomes import Outcomes
from .request_keys import key_reader, sticky_cookie
from .retry_terms import RetryTerms
from .served_endpoint import ServedEndpoint
from .service_circuit import ServiceCircuit
from .service_command import has_service_circuit, is_per_endpoint, limit_of, statuses, usual_s, with_bound, without_per
from .service_commands import ServiceCommands
from .service_transport import Transport
from .sources import as_configs, take_over, watch_of

_log = logging.getLogger("resilience")
#: Share of the permits of a service that clients may hold while they send their bodies.
UPLOADS = 0.5


class Service:
    """A service of the gateway. Of one event loop.

    Attributes:
        name: As configured; the key of its command.
        config: As configured.
        preserve_host: Whether the client's Host header is sent on.
        max_body: Bytes of a request's body that are let through; None: any number.
        idle: Bounds the wait for the next piece of a body.
        upgrades: Protocols that may be switched to, in lower case.
        tunnel_idle_s: Longest time in a tunnel without a byte.
        endpoints: Where its requests go.
        listed: Their configurations, also of those that a subset leaves out.
        draining: Endpoints that its source lists no more, and that have requests in flight.
        watch: Asks its source which endpoints there are; None: they are configured.
        is_per_endpoint: Whether each endpoint has a command of its own.
        circuit: Around whole requests; None: there is none.
        retry: What is sent again, and how much of a request's body is taken in for that.
        succession: The services before and after it.
        outcomes: Tells the endpoints how attempts at them have ended.
        uploads: How many bodies are streamed at once.
        answers: What is looked at in them before they are passed on.
        sets_json: Whether any endpoint has values to set in the body of a request.
        clock: The registry's.
        random: The registry's.
    """

    endpoints: EndpointSet[ServedEndpoint]
    listed: tuple[EndpointConfig, ...]
    draining: list[ServedEndpoint]
    circuit: ServiceCircuit | None
    succession: Succession
    key_of: Callable[[Request], bytes | None]
    is_keyed: bool
    sets_json: bool
    wants_times: bool
    _checker: Checker | None
    _commands: ServiceCommands
    _transport: Transport

    def __init__(self, name: str, config: ServiceConfig, client: UpstreamClient, registry: Registry,
                 previous: Service | None = None) -> None:
        """Make a service and its commands; nothing is connected to yet. With a *previous* one it is not in force yet.

        Args:
            name: As configured.
            config: As configured.
            client: Sends requests.
            registry: Where its commands are.
            previous: The service that this one takes the place of when it is told to enter(), and not before.

        Raises:
            ConfigError: The registry has a command of the same name that says otherwise, or a secret is not there.
        """
        self.name, self.config = name, config
        self.preserve_host = config.preserve_host
        self.max_body = config.max_body
        self.idle = AsyncTimeout(name, config.idle_timeout)
        self.upgrades = frozenset(() if config.http2 else (each.lower().encode() for each in config.upgrades))
        self.tunnel_idle_s = config.tunnel_idle_timeout
        self.clock, self.random = registry.clock, table_of(registry).services.random
        self._clients, self._registry = client, registry
        self._transport = Transport(config, client, None if previous is None else previous._transport)
        self.listed = config.endpoints if config.source is None or previous is None else previous.listed
        for each in self.listed:
            each.check_secrets()
        self.draining = []
        self.watch: Watch | None = None
        if config.source is not None:
            self.watch = watch_of(self, config.source, client, registry, previous)
        self.is_per_endpoint = is_per_endpoint(config.command, len(config.endpoints) if config.source is None else 2)
        command = without_per(config.command)
        self.has_deadline = config.deadline is not None or config.pass_deadline
        if self.has_deadline:
            command = with_bound(command, config.deadline)
        self._commands = ServiceCommands(
            name, command, self._transport.exchange, registry, is_per_endpoint=self.is_per_endpoint,
            previous=None if previous is None else previous._commands)
        settings = self._commands.settings
        self.outcomes = Outcomes(name, statuses(settings), usual_s(settings, config.deadline), self.clock)
        self.retry = RetryTerms(config.retry, self.clock)
        self._permits = limit_of(settings)
        self.uploads: Uploads = Uploads(1.0) if previous is None else previous.uploads
        self._balancer = _balancer_of(config, self.random())
        self.wants_times, self.is_keyed = self._balancer.wants_times, self._balancer.wants_key
        self.answers: AnswerTerms = AnswerTerms(name, config, self.idle, self.retry.statuses)
        self.fallbacks: Fallbacks | None = fallbacks_of(
            config.fallback, None if previous is None else previous.fallbacks)
        self.fallback_service: Service | None = None
        self.key_of = key_reader(config.balancing.hash_by, config.balancing.sticky)
        self._limit = self._permits if self.is_per_endpoint else inf
        self._is_plain = config.checks is None and config.hedge is None and config.source is None
        self._previous = previous
        self.succession = Succession(self) if previous is None else previous.succession
        self._commands.prepare([each.name for each in self._used(self.listed)])
        if previous is None:
            self.enter()

    def enter(self) -> None:
        """Be in force, in the place of the previous service, if there is one, and with what that one knows.

        Without a previous one its source, if it has one, is asked from begin() on, or from its first request.
        """
        previous, self._previous = self._previous, None
        self.succession.enter(self)
        kept = previous if self._transport.keeps_endpoints else None
        if kept is not None and self.watch is not None:
            self.draining = list(kept.draining)
        self._commands.enter()
        self.circuit = self._commands.circuit if has_service_circuit(self.config.command) else None
        self._adopt_endpoints(self.listed, () if kept is None else (*kept.draining, *kept.endpoints.states))
        self._checker = self._new_checker()
        if previous is not None:
            self.retry.enter(previous.retry)
            if self.fallbacks is not None:
                self.fallbacks.enter(previous.fallbacks)
            previous._check_no_more()
            self._drop(previous.endpoints.states, previous._transport.client)
            take_over(self, self._registry, previous)

    def begin(self) -> None:
        """A service that had no previous one is in force: let its source be asked, if it has one."""
        take_over(self, self._registry, None)

    def abandon(self) -> None:
        """It will not be in force; the previous one goes on as if it had never been made."""
        self._previous = None
        self._commands.abandon()

    def successor(self, config: ServiceConfig) -> Service:
        """The service by another configuration, which takes the place of this one once it enters.

        Endpoints that stay keep their connections, their commands with circuits and statistics, and what is known of
        them. Requests under way end as they began. Requests to endpoints that are gone end, too, and no others begin.

        Args:
            config: The configuration.

        Raises:
            ConfigError: A secret is not there, or the registry has a command of the same name that says otherwise; this
                service goes on as it was.
        """
        return Service(self.name, config, self._clients, self._registry, self)

    def set_endpoints(self, configs: Sequence[EndpointConfig]) -> None:
        """Have these endpoints from now on, as discovery finds them: what stays is kept, what is gone drains.

        Args:
            configs: The endpoints; none: requests get 502 until there are some.

        Raises:
            ConfigError: A secret is not there; the endpoints stay as they were.
        """
        before, drained, wanted = self.endpoints.states, self.draining, {each.url for each in configs}
        self.draining = [each for each in (*before, *drained) if each.in_flight and each.config.url not in wanted]
        try:
            self._adopt_endpoints(tuple(configs), (*drained, *before))
        except BaseException:
            self.draining = drained
            raise
        self._drop(before, self._transport.client)

    # -- as discovery.watch.Follower

    def prepare(self, instances: Sequence[Instance]) -> Iterator[None]:
        """Make the commands of endpoints that are new, one at each step."""
        for config in self._used(tuple(as_configs(instances, self.listed))):
            if not self._commands.has(config.name):
                self._commands.call(config.name)
                yield

    def follow(self, instances: Sequence[Instance]) -> None:
        """Have the endpoints that the source lists, from now on.

        Raises:
            ConfigError: The registry has a command of the same name that says otherwise.
        """
        self.set_endpoints(as_configs(instances, self.listed))

    def heard(self) -> None:
        """The source was asked: forget the commands of endpoints that have drained."""
        if self.draining and not all(each.in_flight for each in self.draining):
            self.draining = [each for each in self.draining if each.in_flight]
            self._adopt_commands()

    def close(self) -> None:
        """The service is no more: forget its commands, and close its idle connections."""
        self.ending()(())

    def ending(self) -> Callable[[Container[Endpoint]], None]:
        """What is to be done when it is no more, and its last request has ended; keeps nothing of it alive.

        The function that is returned is given the endpoints that other services have.
        """
        self._check_no_more()
        if self.watch is not None and self.watch.follower is self:
            self.watch.end()
        endpoints = [each.endpoint for each in self.endpoints.states]
        return functools.partial(_forget, self._commands, self._transport.client, endpoints)

    def refusal(self, request: Request) -> CircuitOpenError | None:
        """The refusal of a request that no circuit lets pass now, counted; None: attempts() will show."""
        if not self._open_circuits.may_refuse or not self._is_plain:
            return None
        refusal = self._open_circuits.refusal(request, self.clock())
        if refusal is not None:
            self.retry.begun()
        return refusal

    def attempts(self, request: Request) -> Attempts | HedgedAttempts:
        """The way of one request over the endpoints; they must be closed.

        Raises:
            CircuitOpenError: The service's own circuit is open.
        """
        if self._is_plain:
            return Attempts(self, request)
        if self._checker is not None:
            self._checker.start()
        if self.watch is not None:
            self.watch.start()
            if not self.watch.is_known:
                return AwaitedList(self, request)
            self._is_plain = self.config.checks is None and self.config.hedge is None  # the watch runs, and knows
        hedge = self.config.hedge
        if hedge is not None and self.retry.may_repeat(request):
            return HedgedAttempts(self, request, hedge)
        return Attempts(self, request)

    def bounded(self, request: Request) -> AbstractContextManager[object]:
        """The deadline of one request, in which all of it happens, whoever sends it."""
        if not self.has_deadline:
            return nullcontext()
        told = header_value(request.headers, DEADLINE_HEADER.encode()) if self.config.pass_deadline else None
        return deadline.from_header(told, most=self.config.deadline)

    def cookie(self, request: Request, attempts: Attempts | HedgedAttempts) -> list[Header]:
        """What lets a client of a sticky session come back to the endpoint that has answered, if it cannot yet."""
        name = self.config.balancing.sticky
        return [] if name is None else sticky_cookie(
            request, name.encode(), attempts.endpoint, self.endpoints.states, self.clock())

    def served(self) -> Sequence[ServedEndpoint]:
        """All endpoints, as they are now."""
        return self.endpoints.states

    def has_other(self, endpoint: ServedEndpoint, tried: Container[EndpointState] = ()) -> bool:
        """Whether another *endpoint* than this may take a request that was at those it has *tried*."""
        now = self.clock()
        return any(state is not endpoint and state not in tried and not state.refuses(now)
                   for state in self.endpoints.states)

    def health_changed(self, endpoint: ServedEndpoint) -> None:
        """The checks of an endpoint have found that it is healthy, or that it is not."""
        if endpoint.is_healthy:
            self.endpoints.came(endpoint, self.clock())
        self.endpoints.changed()

    def stop(self) -> None:
        """End what goes on in the background."""
        if self._checker is not None:
            self._checker.stop()
        if self.watch is not None and self.watch.follower is self:
            self.watch.stop()

    # -- within

    def _new_checker(self) -> Checker | None:
        checks = self.config.checks
        return None if checks is None else Checker(checks, self, self._transport.client, self.random)

    def _check_no_more(self) -> None:
        """Another service takes the place of this one: requests that still come here begin no checks."""
        if self._checker is not None:
            self._checker.stop()
        self._checker = None

    def _adopt_endpoints(self, configs: tuple[EndpointConfig, ...], before: Sequence[ServedEndpoint]) -> None:
        known = {(each.config.url, each.config.server_name): each for each in before}
        now, states, fresh = self.clock(), [], []
        for config in self._used(configs):
            state = known.get((config.url, config.server_name))
            if state is None:
                state = ServedEndpoint(config, Endpoint.parse(config.url, self._transport.tls, config.server_name))
                fresh.append(state)
            else:
                state.configure(config)
                if self.config.checks is None:
                    state.is_healthy = True
            state.connect_timeout, state.statuses = self.config.connect_timeout, self.outcomes.statuses
            states.append(state)
        for state in states:
            state.key, state.call = self._commands.key_of(state.name), self._commands.call(state.name)
        self.listed = configs
        self.sets_json = any(state.needs_body for state in states)
        self.uploads.most = max(1.0, UPLOADS * self._permits * (len(configs) if self.is_per_endpoint else 1))
        gates = [(state, first_gate(state.call)) for state in (states if self.is_per_endpoint else states[:1])]
        self._open_circuits = OpenCircuits(gates)
        circuits = {state: gate[0] for state, gate in gates if gate is not None and self.is_per_endpoint}
        for state in states:
            state.circuit = circuits.get(state)
        slow_start = self.config.balancing.slow_start
        self.endpoints = self.outcomes.endpoints = EndpointSet(
            states, self._balancer, self.config.ejection, slow_start, now, self._limit)
        self._adopt_commands()
        self.endpoints.changed()  # perhaps a circuit is open
        for state in fresh if known else ():
            self.endpoints.came(state, now)

    def _adopt_commands(self) -> None:
        drain = [each.name for each in self.draining if self._commands.has(each.name)]
        self._commands.adopt([*(each.name for each in self.endpoints.states), *drain])

    def _drop(self, before: Sequence[ServedEndpoint], client: UpstreamClient) -> None:
        """Close the idle connections of endpoints that are gone; what is under way ends by itself."""
        kept = set(self.endpoints.states)
        for each in before:
            if each not in kept:
                client.let_go(each.endpoint)

    def _used(self, endpoints: tuple[EndpointConfig, ...]) -> list[EndpointConfig]:
        size = self.config.balancing.subset
        if size is None or size >= len(endpoints):
            return list(endpoints)
        names = subset([each.name for each in endpoints], size, socket.gethostname())
        return [each for each in endpoints if each.name in names]


def _balancer_of(config: ServiceConfig, seed: float) -> Balancer:
    options = config.balancing
    return balancer(config.balancer, BalancerOptions(
        load_factor=options.load_factor, max_in_flight=options.max_in_flight, zone=options.zone,
        sticky=options.sticky is not None, seed=seed))


def _forget(commands: ServiceCommands, client: UpstreamClient, endpoints: Sequence[Endpoint],
            others: Container[Endpoint]) -> None:
    commands.close()
    for each in endpoints:
        if each not in others:
            client.let_go(each)
