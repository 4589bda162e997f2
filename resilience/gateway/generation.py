"""Generations: what one configuration of a gateway amounts to, ready to serve.

A generation never changes. Another configuration makes another one, which takes its place in one assignment; a request
reads it once, and ends by it. What two generations have in common (services, filters, the observer) goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs

from ..registry import Registry
from ..shared.connection import Connection
from .change import Act, Change
from .circuit_hints import GatewayHints, hints_of
from .client_addresses import ClientAddresses
from .composition.composer import endpoints
from .config import GatewayConfig, RouteConfig
from .filters.chain import NO_FILTERS, Chain, FilterRunner, chain_of
from .filters.step import Step
from .filters.steps import steps_of
from .forwarding import Forwarder
from .limits.admission_control import AdmissionControl, admission_control_of
from .logs.lost_lines import METRICS as LOST_LINES
from .logs.observed_request import ObservedRequest
from .logs.observer import Observer, observer_of
from .logs.request_statistics import statistics_of
from .messages.exchange import UpstreamClient
from .messages.grpc_status import answer_of
from .messages.headers import folded
from .messages.inbound import ClientGoneError, Inbound, RefusedRequest
from .messages.problem import Problem, reason_of
from .mirroring import METRICS
from .request_mapping import Admission
from .services.service import Service
from .services.services import NextServices
from .shared_state import connection_of

_PRIVATE: Final = "private"


@attrs.frozen(eq=False)
class Parts:
    """What both listeners of a gateway share.

    Attributes:
        services: By name.
        steps: The filters, by name.
        composed: The endpoints that answer by compositions, by the compositions' names.
        observer: Is told of the public listener's requests, and has what both listeners tell; None: nothing is told.
        shared: The connection to what several gateways share; None: nothing is shared.
        hints: What gateways tell each other of endpoints that are down; None: nothing.
    """

    services: Mapping[str, Service]
    steps: Mapping[str, Step]
    composed: Mapping[str, Step]
    observer: Observer | None
    shared: Connection | None
    hints: GatewayHints | None

    @classmethod
    def of(cls, config: GatewayConfig, made: NextServices, registry: Registry, client: UpstreamClient, change: Change,
           old: Generation | None) -> Parts:
        """What *config* asks for; what the *old* generation has already is taken from there.

        Raises:
            ConfigError: A filter cannot be made of its settings, or the registry has a command of the same name that
                says otherwise.
        """
        services = {name: made.make(name, each) for name, each in config.services.items()}
        addresses = ClientAddresses.behind(config.gateway.trusted_proxies)
        before, known = dict[str, Step](), dict[str, Service]()
        if old is not None and old.config.gateway.trusted_proxies == config.gateway.trusted_proxies:
            before, known = dict(old.parts.steps), dict(old.parts.services)
        shared = connection_of(config.shared, registry, change, None if old is None else old.parts.shared,
                               None if old is None else old.config.shared)
        if old is not None and old.parts.shared is not shared:
            before = {name: step for name, step in before.items() if not getattr(step.config.target, "shared", False)}
        hints = hints_of(config.shared, shared, services, registry, change, None if old is None else old.parts.hints)
        changed = {name for name, service in services.items() if known.get(name) is not service}
        steps = steps_of(config, services, registry, client, addresses, made, change, before, changed, shared)
        composed = endpoints(config, services, registry, change.once_in_force)
        if old is not None and _observed(old.config) == _observed(config):
            return cls(services, steps, composed, old.parts.observer, shared, hints)
        observer = observer_of(config.observed_log, config.tracing, addresses,
                               statistics_of(registry, None, change.once_in_force)
                               if config.gateway.statistics else None, is_needed=_needs_observer(config))
        if observer is not None:
            change.unless_in_force(observer.close)
            log = observer.access_log
            if log is not None:
                writer = log.writer
                change.once_in_force(lambda: LOST_LINES.of(registry).adopt(writer, writer.lost))
        return cls(services, steps, composed, observer, shared, hints)

    @property
    def filters(self) -> list[Step]:
        """All that have commands of their own."""
        return [*self.steps.values(), *self.composed.values()]

    def close(self, but: Iterable[object] = (), patience_s: float = 0.0) -> None:
        """End what goes on in the background, *but* for what is in use elsewhere; wait so long for the access log."""
        kept = {id(each) for each in but}
        for step in self.steps.values():
            if id(step) not in kept:
                step.close()
        if self.observer is not None and id(self.observer) not in kept:
            self.observer.close(patience_s)
        if self.hints is not None and id(self.hints) not in kept:
            self.hints.hints.close()
        if self.shared is not None and id(self.shared) not in kept:
            self.shared.close()

    def all(self) -> list[object]:
        """What close() ends."""
        return [*self.steps.values(), self.observer, self.shared, self.hints]


def _observed(config: GatewayConfig) -> tuple[object, ...]:
    return (config.observed_log, config.tracing, config.gateway.statistics, config.gateway.trusted_proxies,
            _needs_observer(config))


def _needs_observer(config: GatewayConfig) -> bool:
    return (bool(config.filters) or config.shedding is not None
            or (config.private is not None and config.private.settings.statistics))


@attrs.frozen(eq=False)
class RequestHandler:
    """Answers the requests of one listener.

    Attributes:
        admission: Admits requests to services.
        forwarder: Forwards what was admitted.
        runner: Runs the filters of a route.
        observer: Is told of its requests; None: nobody is.
        admission_control: Sheds load; None: all may come in.
    """

    admission: Admission
    forwarder: Forwarder
    runner: FilterRunner
    observer: Observer | None
    admission_control: AdmissionControl | None

    @classmethod
    def of(cls, config: GatewayConfig, parts: Parts, registry: Registry, once_in_force: Callable[[Act], object],
           name: str | None = None, old: RequestHandler | None = None) -> RequestHandler:
        """The handler that *config* describes, if it is taken for the whole gateway.

        Args:
            config: Of the listener, as if it were the whole gateway's.
            parts: What both listeners share.
            registry: Where the commands are.
            once_in_force: See FilterHost.
            name: Of the listener; None: the public one.
            old: The handler whose place it takes; None: there is none.
        """

        def chain(route: RouteConfig) -> Chain | None:
            names = [name for name in config.filters_of(route) if name in parts.steps]  # else all of it is off
            composed = [] if route.compose is None else [parts.composed[route.compose]]
            found = chain_of([*(parts.steps[name] for name in names), *composed])
            return NO_FILTERS if found is None and config.gateway.error_endpoint is not None else found

        forwarder = Forwarder(
            client_timeout=config.gateway.client_timeout, upload_timeout=config.gateway.upload_timeout,
            min_upload_rate=config.gateway.min_upload_rate,
            reserved=frozenset(folded(name.encode()) for name in config.stated_headers))
        steps = {**parts.steps, **{step.name: step for step in parts.composed.values()}}
        addresses = ClientAddresses.behind(config.gateway.trusted_proxies)
        observer = parts.observer
        if observer is not None and name is not None:
            observer = observer.of_listener(
                name, statistics_of(registry, name, once_in_force) if config.gateway.statistics else None)
        admission = Admission(config, parts.services, chain, before=None if old is None else old.admission.mirrors)
        mirrors = admission.mirrors
        once_in_force(lambda: METRICS.of(registry).adopt(name, mirrors))
        return cls(
            admission, forwarder,
            FilterRunner(forwarder, parts.services, steps, config.gateway.error_endpoint, config.identity_headers),
            observer,
            None if config.shedding is None else
            admission_control_of(registry, config.shedding, addresses, once_in_force,
                                 None if name is None else ("listener", name)))

    async def serve(self, inbound: Inbound) -> None:
        """Answer one request; see Gateway.serve()."""
        observer, observed = self.observer, None
        if observer is not None:
            inbound = observed = observer.begin(inbound)
        try:
            admitted = self.admission.admit(inbound.head)
            route = admitted.route
            if observer is not None and observed is not None:
                observer.routed(observed, route.name, route.answers, admitted.request)
                admitted.request.asked, admitted.request.replaced = observed.asked, observed.replaced
                control = self.admission_control
                if control is not None:
                    answer = await control.admit(observed)
                    if answer is not None:
                        await inbound.respond(*answer)
                        return
                    admitted.request.headers = control.priorities.cleaned(inbound.head, admitted.request.headers)
            if route.filters is None:
                await self.forwarder.forward(route.service, admitted.request, inbound, mirror=route.mirror)
            else:
                await self.runner.serve(route.filters, admitted, inbound)
        except Problem as problem:
            # The frames of its history keep an ASGI server's receive() alive, and a connection that should close.
            problem.__traceback__ = problem.__context__ = None
            if observed is not None:
                observed.refused = problem.reason
            await inbound.respond(*answer_of(problem, inbound.head))
        except Exception as error:
            _note(error, observed)
            raise
        finally:
            if observer is not None and observed is not None:
                observer.end(observed)

    def refused(self, request: RefusedRequest) -> None:
        """See Gateway.refused()."""
        if self.observer is not None:
            self.observer.refused(request)


def _note(error: Exception, observed: ObservedRequest | None) -> None:
    """Note a failure of the gateway itself, which its server will answer, as such, and not as a client that left."""
    if observed is not None and not observed.status and not isinstance(error, ClientGoneError):
        observed.status, observed.refused = 500, reason_of(500)


@attrs.frozen(eq=False)
class Generation:
    """What one configuration amounts to.

    Attributes:
        config: The configuration.
        parts: What both listeners share.
        public: What everybody reaches.
        private: What stands behind the listener of the ``[private]`` table; None: there is none.
    """

    config: GatewayConfig
    parts: Parts
    public: RequestHandler
    private: RequestHandler | None

    @classmethod
    def of(cls, config: GatewayConfig, services: NextServices, registry: Registry, client: UpstreamClient,
           change: Change, old: Generation | None = None) -> Generation:
        """The generation of a configuration, which touches nothing that is in force before the *change* is made.

        Raises:
            ConfigError: A secret or a file is not there, or the registry has a command of the same name that says
                otherwise.
        """
        parts = Parts.of(config, services, registry, client, change, old)
        settings, later = config.of_private_listener(), change.once_in_force
        before, private = (None, None) if old is None else (old.public, old.private)
        return cls(config, parts, RequestHandler.of(config, parts, registry, later, old=before),
                   None if settings is None else RequestHandler.of(settings, parts, registry, later, _PRIVATE, private))
