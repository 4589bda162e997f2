"""Steps of a gateway: each of its filters, made ready to run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

import attrs

from ...registry import Registry
from ..config import GatewayConfig
from ..service import Service
from ..upstream import UpstreamClient
from .declare import FilterHost
from .step import Step, step_of


def steps_of(config: GatewayConfig, services: Mapping[str, Service], registry: Registry, client: UpstreamClient,
             is_trusted: Callable[[str], bool], before: Mapping[str, Step] = MappingProxyType({}),
             changed: Collection[str] = ()) -> dict[str, Step]:
    """The steps of a gateway's filters, by name.

    Args:
        config: Of the gateway.
        services: By name.
        registry: Where the gateway's commands are.
        client: The gateway's.
        is_trusted: Whether a peer's address is that of a trusted proxy.
        before: Steps of the configuration before: those with the same settings go on, with what they know.
        changed: Names of services that are not what they were then.

    Raises:
        ConfigError: The registry has a command of the same name that says otherwise.
    """
    found: dict[str, Step] = {}
    for each in config.filters.values():
        known = before.get(each.name)
        if known is not None and known.config == each \
                and not {*getattr(each.target, "needs_services", ())}.intersection(changed):
            found[each.name] = known
            continue
        bind = getattr(each.target, "bind", None)
        host = FilterHost(name=each.name, services=services, registry=registry, client=client, is_trusted=is_trusted)
        parts = getattr(each.target, "parts", None)
        if parts is None:
            found[each.name] = step_of(each, each.target if bind is None else bind(host), registry)
        elif steps := [step_of(each, part.call, registry, part.said) for part in parts(host)]:
            found[each.name] = attrs.evolve(steps[0], others=tuple(steps[1:]))
    return found


def declare_again(steps: Iterable[Step]) -> None:
    """Bring into force again what the commands of *steps* said, before others of the same names were made."""
    for step in steps:
        for each in (step, *step.others):
            if each.declare is not None:
                each.run = each.declare()


def keys_of(steps: Iterable[Step]) -> set[str]:
    """The keys of the commands of *steps*."""
    return {each.key for step in steps for each in (step, *step.others)}
