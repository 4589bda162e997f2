"""Steps of a gateway: each of its filters, made ready to run."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Mapping

from ...registry import Registry
from ...shared.connection import Connection
from ..change import Change
from ..client_addresses import ClientAddresses
from ..config import FilterConfig, GatewayConfig, ServiceConfig
from ..messages.exchange import UpstreamClient
from ..services.service import Service
from ..services.services import NextServices
from .declare import KEYS, FilterHost
from .step import Step, step_of


def steps_of(config: GatewayConfig, services: Mapping[str, Service], registry: Registry, client: UpstreamClient,
             addresses: ClientAddresses, own: NextServices, change: Change,
             before: Mapping[str, Step], changed: Collection[str], shared: Connection | None) -> dict[str, Step]:
    """The steps of a gateway's filters, by name.

    Args:
        config: Of the gateway.
        services: By name.
        registry: Where the gateway's commands are.
        client: The gateway's.
        addresses: Finds the clients of requests.
        own: Makes the services that filters alone ask.
        change: With which they come into force.
        before: Steps of the configuration before: those with the same settings go on, with what they know.
        changed: Names of services that are not what they were then.
        shared: The connection to what several gateways share; None: there is none.

    Raises:
        ConfigError: A filter cannot be made of its settings.
    """
    found: dict[str, Step] = {}
    for each in config.filters.values():
        known = before.get(each.name)
        if known is not None and known.config == each \
                and not {*getattr(each.target, "needs_services", ())}.intersection(changed):
            found[each.name] = known
            own.keep(known.services)
            continue
        asked: list[Service] = []

        def service(name: str, config: ServiceConfig, of: str = each.name, asked: list[Service] = asked) -> Service:
            asked.append(own.make(f"{KEYS}{of}.{name}", config))
            return asked[-1]

        steps = _steps(each, registry, change, FilterHost(
            name=each.name, services=weakref.WeakValueDictionary(services),  # a filter that keeps it keeps none alive
            registry=registry, client=client, addresses=addresses, service=service,
            once_in_force=change.once_in_force, shared=shared))
        if steps:
            steps[0].others, steps[0].services = tuple(steps[1:]), asked
            found[each.name] = steps[0]
    return found


def _steps(config: FilterConfig, registry: Registry, change: Change, host: FilterHost) -> list[Step]:
    """The steps of one filter; the first of them closes for all."""
    target = config.target
    parts = getattr(target, "parts", None)
    bind = getattr(target, "bind", None)
    made = []
    for call, said in ([(target if bind is None else bind(host), None)] if parts is None
                       else [(part.call, part.said) for part in parts(host)]):
        made.append(step_of(config, call, registry, said, change.once_in_force))
        change.unless_in_force(made[-1].close)
    return made


def keys_of(steps: Iterable[Step]) -> set[str]:
    """The keys of the commands of *steps*."""
    return {each.key for step in steps for each in (step, *step.others)}
