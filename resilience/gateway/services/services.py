"""Services of a gateway, and of its filters, from one configuration to the next."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Container, Iterable

from ...registry import Registry
from ..change import Change
from ..config import ServiceConfig
from ..messages.exchange import Endpoint, UpstreamClient
from .service import Service


class Services:
    """The services that are in force, by name. For one event loop."""

    def __init__(self, client: UpstreamClient, registry: Registry) -> None:
        """There are none yet.

        Args:
            client: Sends requests.
            registry: Where the commands are.
        """
        self._client, self._registry = client, registry
        self._known: dict[str, Service] = {}
        self._ending: weakref.WeakValueDictionary[str, Service] = weakref.WeakValueDictionary()  # removed, and in use

    def stop(self) -> None:
        """End what they do in the background."""
        for service in self._known.values():
            service.stop()

    def next(self, change: Change) -> NextServices:
        """Those of another configuration, which are in force when the *change* is made."""
        found = NextServices(self, change)
        change.once_in_force(functools.partial(self._put, found.made))
        return found

    def new(self, name: str, config: ServiceConfig, change: Change) -> Service:
        """The service of this *name* by another *config*: as it is if that is the same; else its successor, or new.

        Raises:
            ConfigError: A secret is not there, or the registry has a command of the same name that says otherwise.
        """
        known = self._known.get(name)
        if known is not None and known.config == config:
            return known
        before = self._ending.get(name) if known is None else known
        if before is None:
            made = Service(name, config, self._client, self._registry)
            change.once_in_force(made.begin)
        else:
            made = before.successor(config)
            change.once_in_force(made.enter)
        change.unless_in_force(made.abandon)
        return made

    def _put(self, services: dict[str, Service]) -> None:
        """These are in force from now on, and no others. Who is gone is forgotten when its last request has ended."""
        before, self._known = self._known, dict(services)
        for service in services.values():
            fallback = service.config.fallback
            service.fallback_service = None if fallback is None or fallback.service is None \
                else services[fallback.service]
        for name in before.keys() - services.keys():  # whoever is served by it still keeps it alive
            self._ending[name] = before[name]
            weakref.finalize(before[name], self._forget, name, before[name].ending()).atexit = False
        services.clear()  # whoever keeps the maker of services keeps none of them

    def _forget(self, name: str, end: Callable[[Container[Endpoint]], None]) -> None:
        """The last request of a removed service has ended; but one of its name may be there again."""
        if name not in self._known:
            end({each.endpoint for service in self._known.values() for each in service.endpoints.states})


class NextServices:
    """The services of a configuration that is being built.

    Attributes:
        made: By name; none any more once they are in force.
    """

    def __init__(self, services: Services, change: Change) -> None:
        self.made: dict[str, Service] = {}
        self._services, self._change = services, change

    def make(self, name: str, config: ServiceConfig) -> Service:
        """See Services.new()."""
        self.made[name] = self._services.new(name, config, self._change)
        return self.made[name]

    def keep(self, services: Iterable[Service]) -> None:
        """Have these, which are in force, as they are."""
        self.made.update({each.name: each for each in services})
