"""Steps of a gateway: each of its filters, made ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from ...registry import Registry
from ..config import GatewayConfig
from ..service import Service
from ..upstream import UpstreamClient
from .chain import Step, step_of
from .declare import FilterHost


def steps_of(config: GatewayConfig, services: Mapping[str, Service], registry: Registry, client: UpstreamClient,
             is_trusted: Callable[[str], bool]) -> dict[str, Step]:
    """The steps of a gateway's filters, by name.

    Args:
        config: Of the gateway.
        services: By name.
        registry: Where the gateway's commands are.
        client: The gateway's.
        is_trusted: Whether a peer's address is that of a trusted proxy.

    Raises:
        ConfigError: The registry has a command of the same name that says otherwise.
    """
    found = {}
    for each in config.filters.values():
        bind = getattr(each.target, "bind", None)
        host = FilterHost(name=each.name, services=services, registry=registry, client=client, is_trusted=is_trusted)
        parts = getattr(each.target, "parts", None)
        if parts is None:
            found[each.name] = step_of(each, each.target if bind is None else bind(host), registry)
        elif steps := [step_of(each, part.call, registry, part.said) for part in parts(host)]:
            found[each.name] = attrs.evolve(steps[0], others=tuple(steps[1:]))
    return found
