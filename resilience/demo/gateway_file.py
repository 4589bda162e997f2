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


def gateway_file(services: Iterable[Service], ports: Mapping[str, int], *,
                 gateway: int, private: int, admin: int) -> str:
    """The text of the file.

    Args:
        services: What there is.
        ports: Where each program listens.
        gateway: Port of the public side.
        private: Port of the private side.
        admin: Port of the dashboard and the telemetry.
    """
    parts = [_LISTENERS.format(gateway=gateway, private=private, admin=admin)]
    for service in services:
        parts += _tables(service, [f'"http://127.0.0.1:{ports[program]}"' for program in service.programs])
    return "".join(parts)


def commands_of(services: Iterable[Service], ports: Mapping[str, int]) -> dict[str, str]:
    """The programs by the key of the command that guards the gateway's calls to each."""
    return {f"{service.name}@127.0.0.1:{ports[program]}" if service.backup else program: program
            for service in services for program in service.programs}


def _tables(service: Service, urls: list[str]) -> list[str]:
    name = service.name
    route = _ROUTE.format(routes="private.routes" if service.private else "routes", name=name)
    command = _COMMAND.format(name=name, min_calls=20)
    if service.backup:
        return [f'\n[services.{name}]\nendpoints = [{", ".join(urls)}]\nbalancer = "first"\n', command, route,
                f'service = "{name}"\n']
    tables = [f"\n[services.{name}]\nendpoints = [{urls[0]}]\n", command]
    if not service.canary:
        return [*tables, route, f'service = "{name}"\n']
    canary = service.programs[1]
    return [*tables, f"\n[services.{canary}]\nendpoints = [{urls[1]}]\n",
            f'\n[services.{canary}.fallback]\nservice = "{name}"\n',
            _COMMAND.format(name=canary, min_calls=5),  # it has few requests
            route, f"services = {{ {name} = 80, {canary} = 20 }}\n"]
