"""The services of a gateway, as one configuration says; made anew, they take the place of those before."""

from __future__ import annotations

from collections.abc import Mapping

from ..registry import Registry
from .config import ServiceConfig
from .service import Service
from .upstream import UpstreamClient


def services_of(configs: Mapping[str, ServiceConfig], client: UpstreamClient, registry: Registry,
                previous: Mapping[str, Service] | None = None) -> dict[str, Service]:
    """The services by name. Requests that are under way at those before end as they began.

    Args:
        configs: By name.
        client: Sends requests.
        registry: Where the commands are.
        previous: The services before; what they know of endpoints that stay is kept, and what is gone is closed.

    Raises:
        ConfigError: A secret is not there, and nothing has changed; or the registry has a command of the same name
            that says otherwise.
    """
    before = previous or {}
    for config in configs.values():
        for each in config.endpoints:
            each.check_secrets()
    made = {name: before[name].updated(config) if name in before else Service(name, config, client, registry)
            for name, config in configs.items()}
    for name, service in made.items():
        fallback = configs[name].fallback
        service.fallback_service = None if fallback is None or fallback.service is None else made[fallback.service]
    for name in before.keys() - made.keys():
        before[name].close()
    return made
