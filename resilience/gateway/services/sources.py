"""Sources: the watches of services whose endpoints a source lists."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from ...discovery import Instance, Listing
from ...discovery.cached_list import CachedList, name_of
from ...discovery.watch import Watch
from ...errors import ConfigError
from ...metrics.exports import as_utf8
from ...metrics.prometheus import OncePerRegistry
from ...registry import Registry, table_of
from ..change import if_a_loop_runs
from ..config.endpoints import EndpointConfig
from ..config.sources import SourceConfig, SourceHost
from ..messages.exchange import UpstreamClient
from .served_endpoint import ServedEndpoint

if TYPE_CHECKING:
    from .service import Service


def watch_of(service: Service, config: SourceConfig, client: UpstreamClient, registry: Registry,
             previous: Service | None) -> Watch:
    """The watch of a service, which is not in force yet: the *previous* service's own, if the source is the same.

    Args:
        service: Follows it.
        config: Of the source.
        client: Sends requests.
        registry: Whose clock and random numbers it goes by.
        previous: The service that this one takes the place of.

    Raises:
        ConfigError: The source cannot be made.
    """
    if previous is not None and previous.watch is not None and previous.config.source == config:
        return previous.watch
    try:
        source = config.settings.open(SourceHost(
            service=service.name, interval_s=config.interval, timeout_s=config.timeout, registry=registry,
            client=client))
    except ConfigError as error:
        option = f".{error.option}" if error.option else ""
        raise ConfigError(f"services.{service.name}.source{option}: {error}", error.option) from error
    except Exception as error:
        raise ConfigError(f"the source of {service.name} cannot be opened: {error}", "source") from error
    keep = None if config.keep is None else CachedList(config.keep, name_of(source))
    return Watch(service.name, source, service.endpoints, interval_s=config.interval, timeout_s=config.timeout,
                 keep=keep, clock=registry.clock, random=table_of(registry).services.random,
                 is_required=config.required, hold_s=config.hold)


def take_over(service: Service, registry: Registry, previous: Service | None) -> None:
    """The watch of a *service* is in force from now on, in the place of the *previous* service's.

    It begins, if an event loop runs; if its source is another one, with the endpoints that serve already.
    """
    watch, old = service.watch, None if previous is None else previous.watch
    if old is not None and old is not watch:
        old.end()
    if watch is None:
        return
    watch.follower = service.endpoints
    if previous is not None and watch is not old:
        age_s = None if old is None else old.age_s
        watch.begin_with(Listing.of(map(_said, previous.endpoints.listed)).instances, age_s or 0.0)
    METRICS.of(registry).adopt(service.name, watch)
    if_a_loop_runs(watch.start)


class SourceMetrics:
    """What Prometheus is told of the sources of services with one registry. Written by one thread, read by any."""

    def __init__(self) -> None:
        self._watches: tuple[tuple[str, weakref.ref[Watch]], ...] = ()

    def adopt(self, service: str, watch: Watch) -> None:
        """Export what a *watch* says of a *service* from now on."""
        others = [(name, each) for name, each in self._watches if name != service and each() is not None]
        self._watches = (*others, (service, weakref.ref(watch)))  # in one step: a thread may be reading

    def collect(self) -> Iterator[Metric]:
        """The metrics at this moment."""
        ages = GaugeMetricFamily("resilience_gateway_source_age_seconds",
                                 "Since a service's source has listed the endpoints in use.", labels=["service"])
        asked = CounterMetricFamily("resilience_gateway_source_answers", "What sources of endpoints said, by what "
                                    "became of it.", labels=["service", "result"])
        for name, reference in self._watches:
            watch = reference()
            if watch is None:
                continue
            age_s = watch.age_s
            if age_s is not None:
                ages.add_metric([as_utf8(name)], age_s)
            for result, number in watch.counts.items():
                asked.add_metric([as_utf8(name), result], number)
        yield from (ages, asked)


#: The metrics of the sources of gateways with one registry.
METRICS: Final = OncePerRegistry(SourceMetrics)


async def known(services: Callable[[], Mapping[str, Service]]) -> None:
    """Wait until every required source of the *services*, as they are then, has given a list, or one was kept."""
    for each in services().values():
        if each.watch is not None:
            each.watch.start()
    while awaited := [each.watch for each in services().values() if each.watch is not None and each.watch.is_awaited]:
        await awaited[0].known()


def reports(services: Mapping[str, Service]) -> dict[str, Any]:
    """What the sources of *services* have said, and what became of it, as plain values, by the services' names."""
    return {name: {**each.watch.report(), "endpoints": {state.name: _shown(state) for state in each.endpoints.states},
                   "draining": {state.name: state.in_flight for state in each.endpoints.draining if state.in_flight}}
            for name, each in services.items() if each.watch is not None}


def _shown(state: ServedEndpoint) -> dict[str, Any]:
    return {"url": state.config.url, "weight": state.weight, "zone": state.zone, "priority": state.priority,
            "in_flight": state.in_flight, "state": state.rest.state.value, "is_healthy": state.is_healthy}


def as_configs(instances: Sequence[Instance], before: Sequence[EndpointConfig]) -> list[EndpointConfig]:
    """The configurations of *instances*; what is the same as *before* is the same object."""
    kept = {each.url: each for each in before if not each.headers and not each.json}  # which no source says
    found = []
    for each in instances:
        config = kept.get(each.url)
        if config is None or _said(config) != _said(each):
            config = EndpointConfig(**_said(each))
        found.append(config)
    return found


def _said(each: Instance | EndpointConfig) -> dict[str, Any]:
    """What a source could say of an endpoint."""
    return {"url": each.url, "weight": each.weight, "zone": each.zone, "priority": each.priority,
            "server_name": each.server_name}
