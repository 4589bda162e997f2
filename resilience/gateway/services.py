"""The services of a gateway, as one configuration says."""

from __future__ import annotations

from collections.abc import Mapping

from ..registry import Registry
from .config import ServiceConfig
from .service import Service
from .upstream import UpstreamClient


def services_of(configs: Mapping[str, ServiceConfig], client: UpstreamClient, registry: Registry) -> dict[str, Service]:
    """The services by name.

    Args:
        configs: By name.
        client: Sends requests.
        registry: Where the commands are.

    Raises:
        ConfigError: A secret is not there, or the registry has a command of the same name that says otherwise.
    """
    for config in configs.values():
        for each in config.endpoints:
            each.check_secrets()
    made = {name: Service(name, config, client, registry) for name, config in configs.items()}
    fall_back_among(made)
    return made


def fall_back_among(services: Mapping[str, Service]) -> None:
    """Let each of the *services* know the one that answers in its place, if its configuration names one."""
    for service in services.values():
        fallback = service.config.fallback
        service.fallback_service = None if fallback is None or fallback.service is None else services[fallback.service]
