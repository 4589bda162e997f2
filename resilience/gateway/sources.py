"""Sources: the watches of services whose endpoints a source lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..discovery import Instance
from ..discovery.kept_list import KeptList
from ..discovery.watch import Watch
from ..registry import Registry, table_of
from .config.endpoints import EndpointConfig
from .config.sources import SourceConfig, SourceHost
from .upstream import UpstreamClient

if TYPE_CHECKING:
    from .service import Service


def watch_of(service: Service, config: SourceConfig, client: UpstreamClient, registry: Registry,
             previous: Service | None) -> Watch:
    """The watch of a service; begun, if an event loop runs.

    Args:
        service: Follows it.
        config: Of the source.
        client: Sends requests.
        registry: Whose clock and random numbers it goes by.
        previous: The service that this one takes the place of. With the same source its watch goes on; with another
            one, its endpoints serve until there is a list.
    """
    old = None if previous is None else previous.watch
    if old is not None and previous is not None and previous.config.source == config:
        old.follower = service
        return old
    source = config.settings.open(SourceHost(
        service=service.name, interval_s=config.interval, timeout_s=config.timeout, registry=registry, client=client))
    keep = None if config.keep is None else KeptList(config.keep, repr(source))
    watch = Watch(service.name, source, service, interval_s=config.interval, timeout_s=config.timeout, keep=keep,
                  clock=registry.clock, random=table_of(registry).services.random, is_required=config.required)
    if previous is not None:
        if old is not None:
            old.stop()
        watch.begin_with([as_instance(each) for each in previous.listed], old.age_s or 0.0 if old is not None else 0.0)
    begin([watch])
    return watch


def begin(watches: Iterable[Watch | None]) -> None:
    """Start *watches*, if an event loop runs; else they begin with the first request, or when they are waited for."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    for each in watches:
        if each is not None:
            each.start()


async def known(services: Callable[[], Mapping[str, Service]]) -> None:
    """Wait until every required source of the *services*, as they are then, has given a list, or one was kept."""
    begin(each.watch for each in services().values())
    while awaited := [each.watch for each in services().values() if each.watch is not None and each.watch.is_awaited]:
        await awaited[0].known()


def as_configs(instances: Sequence[Instance], before: Sequence[EndpointConfig]) -> list[EndpointConfig]:
    """The configurations of *instances*; what is the same as *before* is the same object."""
    kept = {each.url: each for each in before}
    found = []
    for each in instances:
        config = kept.get(each.url)
        if config is None or as_instance(config) != each:
            config = EndpointConfig(url=each.url, weight=each.weight, zone=each.zone, priority=each.priority,
                                    server_name=each.server_name)
        found.append(config)
    return found


def as_instance(config: EndpointConfig) -> Instance:
    """The instance that an endpoint is, as far as a source could say it."""
    return Instance(url=config.url, weight=config.weight, zone=config.zone, priority=config.priority,
                    server_name=config.server_name)
