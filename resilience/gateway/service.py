"""Services: the endpoints of one, and a guarded exchange with each.

What a guarded exchange is stands in exchanging.py.

Each endpoint has a command of its own, in the group of the service, or all share the service's (``command.per``). In
the first case the command under the service's name shows their sum (service_commands.py, service_total.py).
"""

from __future__ import annotations

import functools
import itertools
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Container, Mapping, Sequence
from math import inf

from ..core.budget import Budget
from ..core.failover import RestTerm
from ..core.verdict import Verdict
from ..drivers.async_timeouts import AsyncTimeout
from ..drivers.deadline_context import DEADLINE_HEADER, deadline
from ..errors import CircuitOpenError
from ..registry import Registry, table_of
from .answer_rules import AnswerRules
from .attempts import Attempts
from .balancing import BalancerOptions, EndpointSet, balancer
from .balancing.course import IDEMPOTENT, Ending
from .balancing.sticky import token_of
from .balancing.subsets import subset
from .checker import Checker
from .config import ServiceConfig
from .config.endpoints import EndpointConfig
from .exchanging import exchanging
from .fallbacks import Fallbacks
from .grpc_status import status_of_answer
from .hedging import HedgedAttempts
from .held_answers import Answer
from .open_circuits import OpenCircuits
from .request_body import SMALL_BODY_BYTES, Uploads
from .request_keys import cookie, header, key_reader
from .served_endpoint import ServedEndpoint
from .service_command import Exchanging, is_per_endpoint, limit_of, statuses, without_per
from .service_commands import ServiceCommands
from .trouble import trouble_of
from .upstream import (
    Endpoint,
    Header,
    IgnoredAnswerError,
    LocalLimitError,
    Request,
    UpstreamClient,
    UpstreamStatusError,
    client_tls,
)

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
        is_per_endpoint: Whether each endpoint has a command of its own.
        takes_in: Bytes of a request's body that are taken in before an endpoint is asked.
        uploads: How many bodies are streamed at once.
        rules: What answers count as by their bodies.
        first_item: Bounds the wait for the first item of an answer; None: nobody waits for it.
        looks_at: Statuses of answers that are looked at before they are passed on.
        waits_for_item: Whether an answer is passed on only when its first item is there.
        begun: Counts a request for the budget, and returns how many there were; see roll().
        budget: Of what is sent again; None: no limit.
        clock: The registry's.
        random: The registry's.
    """

    endpoints: EndpointSet[ServedEndpoint]
    key_of: Callable[[Request], bytes | None]
    is_keyed: bool
    wants_times: bool
    _checker: Checker | None
    _commands: ServiceCommands
    _tls: Callable[[], ssl.SSLContext]

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
        self._client = client.of_http2() if config.http2 else client
        is_same = previous is not None and previous._client is self._client
        self._exchange: Exchanging = previous._exchange if previous is not None and is_same else exchanging(
            self._client, status_of_answer if config.http2 else None)
        self.is_per_endpoint = is_per_endpoint(config.command, len(config.endpoints))
        self._commands = ServiceCommands(
            name, without_per(config.command), self._exchange, registry, is_per_endpoint=self.is_per_endpoint,
            previous=None if previous is None else previous._commands)
        rule = statuses(self._commands.settings)
        self._verdicts, self._judge = rule.verdicts(), rule.judge()
        self._adopt_retry()
        limit = limit_of(self._commands.settings)
        self.uploads = Uploads(max(1.0, UPLOADS * limit * (len(config.endpoints) if self.is_per_endpoint else 1)))
        options = config.balancing
        self._balancer = balancer(config.balancer, BalancerOptions(
            load_factor=options.load_factor, max_in_flight=options.max_in_flight, zone=options.zone,
            sticky=options.sticky is not None))
        self.wants_times, self.is_keyed = self._balancer.wants_times, self._balancer.wants_key
        self.rules = AnswerRules(config.rules)
        self.first_item = None if config.first_item is None else AsyncTimeout(name, config.first_item)
        self.looks_at = self.retried | self.rules.statuses
        self.waits_for_item = self.first_item is not None or self.rules.has_events or config.hold > 0
        self.fallbacks = None if config.fallback is None else Fallbacks(config.fallback)
        if self.fallbacks is not None and previous is not None and previous.config.fallback == config.fallback:
            self.fallbacks = previous.fallbacks
        self.fallback_service: Service | None = None
        self.has_deadline = config.deadline is not None or config.pass_deadline
        self.key_of = key_reader(options.hash_by, options.sticky)
        self._limit = limit if self.is_per_endpoint else inf
        same_tls = is_same and previous is not None and previous.config.ca_file == config.ca_file
        self._tls = previous._tls if previous is not None and same_tls else functools.cache(
            functools.partial(client_tls, config.ca_file, http2=config.http2))
        self._keeps_endpoints = same_tls
        self._is_plain = config.checks is None and config.hedge is None
        self._previous = previous
        self._commands.prepare([each.name for each in self._used(config.endpoints)])
        if previous is None:
            self.enter()

    def enter(self) -> None:
        """Be in force, in the place of the previous service, if there is one, and with what that one knows."""
        previous, self._previous = self._previous, None
        known = previous.endpoints.states if previous is not None and self._keeps_endpoints else ()
        self._commands.enter()
        self._adopt_endpoints(self.config.endpoints, {each.config.url: each for each in known})
        self._checker = self._new_checker()
        if previous is not None:
            previous._check_no_more()
            self._drop(previous.endpoints.states, previous._client)

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
        for each in config.endpoints:
            each.check_secrets()
        return Service(self.name, config, self._clients, self._registry, self)

    def updated(self, config: ServiceConfig) -> Service:
        """The successor(), in force."""
        made = self.successor(config)
        made.enter()
        return made

    def set_endpoints(self, configs: Sequence[EndpointConfig]) -> None:
        """Have these endpoints from now on, as discovery finds them: what stays is kept, what is gone drains.

        Args:
            configs: The endpoints; none: requests get 502 until there are some.

        Raises:
            ConfigError: A secret is not there; the endpoints stay as they were.
        """
        before = self.endpoints.states
        self._adopt_endpoints(tuple(configs), {each.config.url: each for each in before})
        self._drop(before, self._client)

    def close(self) -> None:
        """The service is no more: forget its commands, and close its idle connections."""
        self.ending()(())

    def ending(self) -> Callable[[Container[Endpoint]], None]:
        """What is to be done when it is no more, and its last request has ended; keeps nothing of it alive.

        The function that is returned is given the endpoints that other services have.
        """
        self._check_no_more()
        endpoints = [each.endpoint for each in self.endpoints.states]
        return functools.partial(_forget, self._commands, self._client, endpoints)

    def refusal(self, request: Request) -> CircuitOpenError | None:
        """The refusal of a request that no circuit lets pass now, counted; None: attempts() will show."""
        if not self._open_circuits.may_refuse or not self._is_plain:
            return None
        refusal = self._open_circuits.refusal(request, self.clock())
        if refusal is not None and not self.begun() & 63:
            self.roll()
        return refusal

    def attempts(self, request: Request) -> Attempts | HedgedAttempts:
        """The way of one request over the endpoints; they must be closed."""
        if self._is_plain:
            return Attempts(self, request)
        if self._checker is not None:
            self._checker.start()
        hedge = self.config.hedge
        if hedge is not None and request.body is not None and (self.repeatable or request.method in IDEMPOTENT):
            return HedgedAttempts(self, request, hedge)
        return Attempts(self, request)

    async def call(self, request: Request) -> AsyncGenerator[Answer, None]:
        """Give the answer to a request that the gateway itself makes, and at the next step count how it ended.

        Args:
            request: With its body.

        Raises:
            UpstreamError, ResilienceError: There is none, or it broke off.
        """
        attempts = self.attempts(request)
        try:
            yield await attempts.answered()
            failure = await attempts.settled()
            if failure is not None:
                raise failure
        finally:
            await attempts.close()

    def bounded(self, request: Request) -> deadline:
        """The deadline of one request."""
        told = header(request, DEADLINE_HEADER.encode()) if self.config.pass_deadline else None
        return deadline.from_header(told, most=self.config.deadline)

    def roll(self) -> None:
        """Tell the budget what time it is: its calls are counted without."""
        if self.budget is not None:
            self.budget.deposit(self.clock())

    def cookie(self, request: Request, attempts: Attempts | HedgedAttempts) -> list[Header]:
        """What lets a client come back to the endpoint that has answered, unless it says so already."""
        name, token = f"{self.config.balancing.sticky}".encode(), token_of(attempts.endpoint.name)
        if cookie(request, name) == token:
            return []
        return [(b"set-cookie", b"%b=%b; Path=/; HttpOnly; SameSite=Lax" % (name, token))]

    def served(self) -> Sequence[ServedEndpoint]:
        """All endpoints, as they are now."""
        return self.endpoints.states

    def health_changed(self, endpoint: ServedEndpoint) -> None:
        """The checks of an endpoint have found that it is healthy, or that it is not."""
        if endpoint.is_healthy:
            self.endpoints.came(endpoint, self.clock())
        self.endpoints.changed()

    def stop(self) -> None:
        """End what goes on in the background."""
        if self._checker is not None:
            self._checker.stop()

    def verdict_of(self, error: UpstreamStatusError) -> Verdict:
        """What the service's failure rules say of an answer's status."""
        return self._judge(error, error.status, self._verdicts) if error.status in self._verdicts else Verdict.GOOD

    def failed(self, endpoint: ServedEndpoint, permit: RestTerm | None, ending: Ending, asked: float | None,
               error: Exception) -> None:
        """An attempt at *endpoint* has failed."""
        now, ejector = self.clock(), self.endpoints.ejector
        if ending is Ending.REFUSED or isinstance(error, LocalLimitError):
            ejector.left(endpoint, permit, now)
            return
        is_failure = self._is_failure(ending, error)
        if not is_failure:
            ejector.left(endpoint, permit, now)
        else:
            was_left_out = endpoint.rest.is_left_out
            ejector.failed(endpoint, permit, now)
            if endpoint.rest.is_left_out and not was_left_out:
                _log.warning("%s: %s is left out for %.3g s after %d failures in a row", self.name, endpoint.name,
                             endpoint.rest.until - now, endpoint.failures, extra={"upstream": endpoint.name})
        if asked:
            ejector.pause(endpoint, asked, now)
        reason = trouble_of(error)
        if (is_failure or ending is Ending.BUSY) and endpoint.troubles.are_told_of(reason, now):
            _log.warning("%s: %s failed: %s", self.name, endpoint.name, reason, extra={"upstream": endpoint.name})
        if not endpoint.is_calm:
            self.endpoints.changed()

    def _is_failure(self, ending: Ending, error: Exception) -> bool:
        """Whether an attempt that ended so is a failure of its endpoint."""
        if isinstance(error, UpstreamStatusError):
            return self.verdict_of(error) is Verdict.FAILED
        return ending is not Ending.BUSY and not isinstance(error, IgnoredAnswerError)

    def recovered(self, endpoint: ServedEndpoint, permit: RestTerm | None) -> None:
        """An attempt at *endpoint* has succeeded, after a failure or as a probe."""
        now = self.clock()
        was_left_out = not endpoint.rest.calm
        self.endpoints.ejector.succeeded(endpoint, permit, now)
        if was_left_out and endpoint.rest.calm:
            _log.info("%s: %s is back", self.name, endpoint.name, extra={"upstream": endpoint.name})
            self.endpoints.came(endpoint, now)
            self.endpoints.changed()

    # -- within

    def _new_checker(self) -> Checker | None:
        checks = self.config.checks
        return None if checks is None else Checker(checks, self, self._client, self.random)

    def _check_no_more(self) -> None:
        """Another service takes the place of this one: requests that still come here begin no checks."""
        self.stop()
        self._checker = None

    def _adopt_retry(self) -> None:
        retry = self.config.retry
        self.takes_in = SMALL_BODY_BYTES if retry is None else max(SMALL_BODY_BYTES, retry.replay_body)
        self.repeatable = retry is not None and retry.repeatable
        self.repeats_here = retry is not None and retry.per_endpoint > 1
        self.retried = frozenset[int]() if retry is None or retry.attempts < 2 else retry.codes
        self.delays = None if retry is None else retry.delays
        self.budget = None if retry is None or retry.budget is None else Budget(retry.budget, self.clock())
        self.begun = itertools.repeat(1).__next__ if self.budget is None else self.budget.bump

    def _adopt_endpoints(self, configs: tuple[EndpointConfig, ...], known: Mapping[str, ServedEndpoint]) -> None:
        now, states, fresh = self.clock(), [], []
        for config in self._used(configs):
            state = known.get(config.url)
            if state is None:
                state = ServedEndpoint(config, Endpoint.parse(config.url, self._tls))
                fresh.append(state)
            else:
                state.configure(config)
                if self.config.checks is None:
                    state.is_healthy = True
            state.connect_timeout, state.statuses = self.config.connect_timeout, frozenset(self._verdicts)
            states.append(state)
        for state in states:
            state.key, state.call = self._commands.key_of(state.name), self._commands.call(state.name)
        self._commands.adopt([state.name for state in states])
        self._open_circuits = OpenCircuits(states if self.is_per_endpoint else states[:1])
        slow_start = self.config.balancing.slow_start
        self.endpoints = EndpointSet(states, self._balancer, self.config.ejection, slow_start, now, self._limit)
        for state in fresh if known else ():
            self.endpoints.came(state, now)

    def _drop(self, before: Sequence[ServedEndpoint], client: UpstreamClient) -> None:
        """Close the idle connections of endpoints that are gone; what is under way ends by itself."""
        for each in before:
            if each not in self.endpoints.states:
                client.let_go(each.endpoint)

    def _used(self, endpoints: tuple[EndpointConfig, ...]) -> list[EndpointConfig]:
        size = self.config.balancing.subset
        if size is None or size >= len(endpoints):
            return list(endpoints)
        names = subset([each.name for each in endpoints], size, socket.gethostname())
        return [each for each in endpoints if each.name in names]


def _forget(commands: ServiceCommands, client: UpstreamClient, endpoints: Sequence[Endpoint],
            others: Container[Endpoint]) -> None:
    commands.close()
    for each in endpoints:
        if each not in others:
            client.let_go(each)
