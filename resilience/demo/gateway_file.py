"""The file of the demo's gateway, as a user would write it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from .script import Service

_LISTENERS: Final = """\
[gateway]
bind = "127.0.0.1:{gateway}"

[private]
bind = "127.0.0.1:{private}"

[admin]
bind = "127.0.0.1:{admin}"

[registry]
self_preservation = false  # one missing of so few would keep all

[registry.listener]
bind = "127.0.0.1:{registry}"
"""

_SERVICE: Final = """
[services.{name}]
source = {{ use = "eureka", app = "{name}", servers = ["http://127.0.0.1:{registry}/eureka"], interval = 1.0 }}
"""

_COMMAND: Final = """
[services.{name}.command]
timeout = 0.5
max_concurrent = 20
breaker = {{ failure_rate = 0.3, min_calls = {min_calls}, window = 2.0, open_for = 4.0 }}
"""

_ROUTE: Final = """
[[{routes}]]
path = "/{name}/*"
methods = ["GET"]
strip_prefix = "/{name}"
"""


def gateway_file(services: Iterable[Service], *, gateway: int, private: int, admin: int, registry: int) -> str:
    """The text of the file. Where the programs listen, they say themselves, to the registry.

    Args:
        services: What there is.
        gateway: Port of the public listener.
        private: Port of the private listener.
        admin: Port of the dashboard and the telemetry.
        registry: Port of the service registry.
    """
    parts = [_LISTENERS.format(gateway=gateway, private=private, admin=admin, registry=registry)]
    for service in services:
        parts += _tables(service, registry)
    return "".join(parts)


def applications_of(services: Iterable[Service]) -> dict[str, tuple[str, str]]:
    """The name of the application and the instance by which each program registers, by the program.

    The instances of an application are listed in the order of their names, and the gateway's balancer takes the first.
    """
    return {program: (service.name if service.backup else program, f"{number}-{program}")
            for service in services for number, program in enumerate(service.programs)}


def commands_of(services: Iterable[Service], ports: Mapping[str, int]) -> dict[str, str]:
    """The programs by the key of the command that guards the gateway's calls to each.

    Args:
        services: What there is.
        ports: Where each program listens.
    """
    return {f"{application}@127.0.0.1:{ports[program]}": program
            for program, (application, _) in applications_of(services).items()}


def _tables(service: Service, registry: int) -> list[str]:
    name = service.name
    route = _ROUTE.format(routes="private.routes" if service.private else "routes", name=name)
    command = _COMMAND.format(name=name, min_calls=20)
    table = _SERVICE.format(name=name, registry=registry)
    if service.backup:
        return [f'{table}balancer = "first"\n', command, route, f'service = "{name}"\n']
    tables = [table, command]
    if not service.canary:
        return [*tables, route, f'service = "{name}"\n']
    canary = service.programs[1]
    return [*tables, _SERVICE.format(name=canary, registry=registry),
            f'\n[services.{canary}.fallback]\nservice = "{name}"\n',
            _COMMAND.format(name=canary, min_calls=5),  # it has few requests
            route, f"services = {{ {name} = 80, {canary} = 20 }}\n"]
