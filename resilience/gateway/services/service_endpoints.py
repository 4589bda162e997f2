"""Endpoints of a service: which there are, as they come and go by configuration or discovery.

Who stays keeps its connections, its command with circuit and statistics, and what is known of it. Who goes drains: its
requests end, and no others begin.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Container, Iterator, Sequence
from math import inf

from ...discovery import Instance
from ..balancing import Balancer, BalancerOptions, EndpointSet, EndpointState, balancer
from ..balancing.subsets import subset
from ..config import ServiceConfig
from ..config.endpoints import EndpointConfig
from ..messages.exchange import Endpoint, UpstreamClient
from ..messages.request_body import Uploads
from .open_circuits import OpenCircuits, first_gate
from .outcomes import Outcomes
from .served_endpoint import ServedEndpoint
from .service_commands import ServiceCommands
from .service_transport import Transport
from .sources import as_configs

#: Share of the permits of a service that clients may hold while they send their bodies.
UPLOADS = 0.5


class ServiceEndpoints:
    """The endpoints of one service. Of one event loop. A discovery.watch.Follower.

    Attributes:
        name: Of the service.
        balanced: Those that requests go to, and which of them gets the next.
        listed: Their configurations, also of those that a subset leaves out.
        draining: Endpoints that its source lists no more, and that have requests in flight.
        open_circuits: What refuses a request before an attempt.
        sets_json: Whether any endpoint has values to set in the body of a request.
        uploads: How many bodies are streamed at once.
        wants_times: Whether the balancer is told how long attempts took.
        is_keyed: Whether the balancer goes by a key of the request.
    """

    balanced: EndpointSet[ServedEndpoint]
    open_circuits: OpenCircuits
    sets_json: bool

    def __init__(self, config: ServiceConfig, listed: tuple[EndpointConfig, ...], commands: ServiceCommands,
                 transport: Transport, outcomes: Outcomes, uploads: Uploads, *, permits: float,
                 clock: Callable[[], float], seed: float) -> None:
        """Nothing is made yet, and nobody is served before enter().

        Args:
            config: Of the service.
            listed: The endpoints that it has first.
            commands: Of the service.
            transport: Of the service.
            outcomes: Tells the endpoints how attempts at them have ended.
            uploads: The bodies that are streamed.
            permits: Calls at once of one command.
            clock: Seconds.
            seed: For the balancer.

        Raises:
            ConfigError: A secret is not there.
        """
        for each in listed:
            each.check_secrets()
        self.name, self.listed, self.uploads = commands.name, listed, uploads
        self.draining: list[ServedEndpoint] = []
        self._config, self._commands, self._transport, self._outcomes = config, commands, transport, outcomes
        self._permits, self._clock = permits, clock
        self._balancer = _balancer_of(config, seed)
        self.wants_times, self.is_keyed = self._balancer.wants_times, self._balancer.wants_key

    def make_commands(self) -> None:
        """Make the commands of the endpoints, as far as they are new.

        Raises:
            ConfigError: The registry has a command of the same name that says otherwise; nothing was made.
        """
        self._commands.prepare([each.name for each in self._used(self.listed)])

    @property
    def states(self) -> Sequence[ServedEndpoint]:
        """All of them, as they are now."""
        return self.balanced.states

    def enter(self, previous: ServiceEndpoints | None, *, drains: bool) -> None:
        """Be in force.

        Args:
            previous: Those in whose place these are, if any of them can stay; None: none can, or there were none.
            drains: Whether those of the previous ones that drain go on to do so.
        """
        if previous is None:
            self._adopt(self.listed, ())
            return
        if drains:
            self.draining = list(previous.draining)
        self._adopt(self.listed, (*previous.draining, *previous.states))

    def replace(self, configs: Sequence[EndpointConfig]) -> None:
        """Have these endpoints from now on, as discovery finds them: what stays is kept, what is gone drains.

        Args:
            configs: The endpoints; none: requests get 502 until there are some.

        Raises:
            ConfigError: A secret is not there; the endpoints stay as they were.
        """
        before, drained, wanted = self.states, self.draining, {each.url for each in configs}
        self.draining = [each for each in (*before, *drained) if each.in_flight and each.config.url not in wanted]
        try:
            self._adopt(tuple(configs), (*drained, *before))
        except BaseException:
            self.draining = drained
            raise
        self.let_go(before, self._transport.client)

    def let_go(self, before: Sequence[ServedEndpoint], client: UpstreamClient) -> None:
        """Close the idle connections of those *before* that are gone; what is under way ends by itself."""
        kept = set(self.states)
        for each in before:
            if each not in kept:
                client.let_go(each.endpoint)

    def has_other(self, endpoint: ServedEndpoint, tried: Container[EndpointState] = ()) -> bool:
        """Whether another *endpoint* than this may take a request that was at those it has *tried*."""
        now = self._clock()
        return any(state is not endpoint and state not in tried and not state.refuses(now) for state in self.states)

    def health_changed(self, endpoint: ServedEndpoint) -> None:
        """The checks of an endpoint have found that it is healthy, or that it is not."""
        if endpoint.is_healthy:
            self.balanced.came(endpoint, self._clock())
        self.balanced.changed()

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
        self.replace(as_configs(instances, self.listed))

    def heard(self) -> None:
        """The source was asked: forget the commands of endpoints that have drained."""
        if self.draining and not all(each.in_flight for each in self.draining):
            self.draining = [each for each in self.draining if each.in_flight]
            self._adopt_commands()

    # -- within

    def _adopt(self, configs: tuple[EndpointConfig, ...], before: Sequence[ServedEndpoint]) -> None:
        known = {(each.config.url, each.config.server_name): each for each in before}
        now, states, fresh = self._clock(), [], []
        for config in self._used(configs):
            state = known.get((config.url, config.server_name))
            if state is None:
                state = ServedEndpoint(config, Endpoint.parse(config.url, self._transport.tls, config.server_name))
                fresh.append(state)
            else:
                state.configure(config)
                if self._config.checks is None:
                    state.is_healthy = True
            state.connect_timeout, state.statuses = self._config.connect_timeout, self._outcomes.statuses
            states.append(state)
        for state in states:
            state.key, state.call = self._commands.key_of(state.name), self._commands.call(state.name)
        self.listed = configs
        self.sets_json = any(state.needs_body for state in states)
        is_per_endpoint = self._commands.is_per_endpoint
        self.uploads.most = max(1.0, UPLOADS * self._permits * (len(configs) if is_per_endpoint else 1))
        self._connect_circuits(states, is_per_endpoint)
        self.balanced = self._outcomes.endpoints = EndpointSet(
            states, self._balancer, self._config.ejection, self._config.balancing.slow_start, now,
            self._permits if is_per_endpoint else inf)
        self._adopt_commands()
        self.balanced.changed()  # perhaps a circuit is open
        for state in fresh if known else ():
            self.balanced.came(state, now)

    def _connect_circuits(self, states: Sequence[ServedEndpoint], is_per_endpoint: bool) -> None:
        gates = [(state, first_gate(state.call)) for state in (states if is_per_endpoint else states[:1])]
        self.open_circuits = OpenCircuits(gates)
        circuits = {state: gate[0] for state, gate in gates if gate is not None and is_per_endpoint}
        for state in states:
            state.circuit = circuits.get(state)

    def _adopt_commands(self) -> None:
        drain = [each.name for each in self.draining if self._commands.has(each.name)]
        self._commands.adopt([*(each.name for each in self.states), *drain])

    def _used(self, endpoints: tuple[EndpointConfig, ...]) -> list[EndpointConfig]:
        size = self._config.balancing.subset
        if size is None or size >= len(endpoints):
            return list(endpoints)
        names = subset([each.name for each in endpoints], size, socket.gethostname())
        return [each for each in endpoints if each.name in names]


def _balancer_of(config: ServiceConfig, seed: float) -> Balancer:
    options = config.balancing
    return balancer(config.balancer, BalancerOptions(
        load_factor=options.load_factor, max_in_flight=options.max_in_flight, zone=options.zone,
        sticky=options.sticky is not None, seed=seed))
