"""Services: the endpoints of one (service_endpoints.py), and a guarded exchange with each.

What a guarded exchange is stands in exchanging.py.

Each endpoint has a command of its own, in the group of the service, or all share the service's (``command.per``). In
the first case the command under the service's name shows their sum (service_commands.py, service_total.py).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager, nullcontext

from ...discovery.watch import Watch
from ...drivers.async_timeouts import AsyncTimeout
from ...drivers.deadline_context import DEADLINE_HEADER, deadline
from ...errors import CircuitOpenError
from ...registry import Registry, table_of
from ..answers.answer_terms import AnswerTerms
from ..answers.fallbacks import Fallbacks, fallbacks_of
from ..config import ServiceConfig
from ..messages.exchange import Endpoint, Header, Request, UpstreamClient
from ..messages.named_values import header_value
from ..messages.request_body import Uploads
from .attempts import Attempts
from .awaited_list import AwaitedList, Succession
from .checker import Checker
from .hedging import HedgedAttempts
from .outcomes import Outcomes
from .request_keys import key_reader, sticky_cookie
from .retry_terms import RetryTerms
from .service_circuit import ServiceCircuit
from .service_command import has_service_circuit, is_per_endpoint, limit_of, statuses, usual_s, with_bound, without_per
from .service_commands import ServiceCommands
from .service_endpoints import ServiceEndpoints
from .service_transport import Transport
from .sources import take_over, watch_of

_log = logging.getLogger("resilience")


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
        watch: Asks its source which endpoints there are; None: they are configured.
        is_per_endpoint: Whether each endpoint has a command of its own.
        circuit: Around whole requests; None: there is none.
        retry: What is sent again, and how much of a request's body is taken in for that.
        succession: The services before and after it.
        outcomes: Tells the endpoints how attempts at them have ended.
        uploads: How many bodies are streamed at once.
        answers: What is looked at in them before they are passed on.
        clock: The registry's.
        random: The registry's.
    """

    endpoints: ServiceEndpoints
    circuit: ServiceCircuit | None
    succession: Succession
    key_of: Callable[[Request], bytes | None]
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
        self.uploads: Uploads = Uploads(1.0) if previous is None else previous.uploads
        listed = config.endpoints if config.source is None or previous is None else previous.endpoints.listed
        self.endpoints = ServiceEndpoints(
            config, listed, self._commands, self._transport, self.outcomes, self.uploads, permits=limit_of(settings),
            clock=self.clock, seed=self.random())
        self.watch: Watch | None = None
        if config.source is not None:
            self.watch = watch_of(self, config.source, client, registry, previous)
        self.answers: AnswerTerms = AnswerTerms(name, config, self.idle, self.retry.statuses)
        self.fallbacks: Fallbacks | None = fallbacks_of(
            config.fallback, None if previous is None else previous.fallbacks)
        self.fallback_service: Service | None = None
        self.key_of = key_reader(config.balancing.hash_by, config.balancing.sticky)
        self._is_plain = config.checks is None and config.hedge is None and config.source is None
        self._previous = previous
        self.succession = Succession(self) if previous is None else previous.succession
        self.endpoints.make_commands()
        if previous is None:
            self.enter()

    def enter(self) -> None:
        """Be in force, in the place of the previous service, if there is one, and with what that one knows.

        Without a previous one its source, if it has one, is asked from begin() on, or from its first request.
        """
        previous, self._previous = self._previous, None
        self.succession.enter(self)
        kept = previous if self._transport.keeps_endpoints else None
        self._commands.enter()
        self.circuit = self._commands.circuit if has_service_circuit(self.config.command) else None
        self.endpoints.enter(None if kept is None else kept.endpoints, drains=self.watch is not None)
        self._checker = self._new_checker()
        if previous is not None:
            self.retry.enter(previous.retry)
            if self.fallbacks is not None:
                self.fallbacks.enter(previous.fallbacks)
            previous._check_no_more()
            self.endpoints.let_go(previous.endpoints.states, previous._transport.client)
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

    def close(self) -> None:
        """The service is no more: forget its commands, and close its idle connections."""
        self.ending()(())

    def ending(self) -> Callable[[Container[Endpoint]], None]:
        """What is to be done when it is no more, and its last request has ended; keeps nothing of it alive.

        The function that is returned is given the endpoints that other services have.
        """
        self._check_no_more()
        if self.watch is not None and self.watch.follower is self.endpoints:
            self.watch.end()
        endpoints = [each.endpoint for each in self.endpoints.states]
        return functools.partial(_forget, self._commands, self._transport.client, endpoints)

    def refusal(self, request: Request) -> CircuitOpenError | None:
        """The refusal of a request that no circuit lets pass now, counted; None: attempts() will show."""
        circuits = self.endpoints.open_circuits
        if not circuits.may_refuse or not self._is_plain:
            return None
        refusal = circuits.refusal(request, self.clock())
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

    def stop(self) -> None:
        """End what goes on in the background."""
        if self._checker is not None:
            self._checker.stop()
        if self.watch is not None and self.watch.follower is self.endpoints:
            self.watch.stop()

    # -- within

    def _new_checker(self) -> Checker | None:
        checks = self.config.checks
        return None if checks is None else Checker(checks, self.endpoints, self._transport.client, self.random)

    def _check_no_more(self) -> None:
        """Another service takes the place of this one: requests that still come here begin no checks."""
        if self._checker is not None:
            self._checker.stop()
        self._checker = None


def _forget(commands: ServiceCommands, client: UpstreamClient, endpoints: Sequence[Endpoint],
            others: Container[Endpoint]) -> None:
    commands.close()
    for each in endpoints:
        if each not in others:
            client.let_go(each)
