"""The files of the demo's fleet, as a user would write them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from .fleet_script import LIMIT

_REGISTRY: Final = """\
[listener]
bind = "127.0.0.1:{port}"

[registry]
self_preservation = false # of three instances, one that is dead would stop evictions
eviction_interval = 1.0
"""

_GATEWAY: Final = """\
[gateway]
bind = "127.0.0.1:{gateway}"

[admin]
bind = "127.0.0.1:{admin}"

[process]
lame_duck = 1.0

[services.inventory.source]
use = "eureka"
app = "INVENTORY"
servers = ["http://127.0.0.1:{registry}/eureka"]
interval = 0.5
keep = "{keep}"

[services.inventory.ejection]
rest = 1.0
max_rest = 2.0

[[routes]]
path = "/inventory/*"
service = "inventory"
strip_prefix = "/inventory"
"""

_LIMIT: Final = """
[shared]
url = "redis://127.0.0.1:{redis}/0"
name = "{name}"
instances = {instances}

[filters.together]
use = "rate_limit"
rate = {limit}
per = 1.0
shared = true

[[routes]]
path = "/limited/*"
service = "inventory"
strip_prefix = "/limited"
filters = ["together"]
"""


def registry_file(port: int) -> str:
    """The text of the registry's file."""
    return _REGISTRY.format(port=port)


def fleet_gateway_file(name: str, folder: Path, *, gateway: int, admin: int, registry: int, redis: int | None,
                       gateways: int) -> str:
    """The text of a gateway's file.

    Args:
        name: Of the gateway.
        folder: Where it may keep something.
        gateway: Its port.
        admin: Port of its dashboard and telemetry.
        registry: Port of the registry.
        redis: Port of Redis; None: there is none, and no route with a limit.
        gateways: How many there are.
    """
    text = _GATEWAY.format(gateway=gateway, admin=admin, registry=registry, keep=folder / f"{name}.kept")
    return text if redis is None else text + _LIMIT.format(redis=redis, name=name, limit=LIMIT, instances=gateways)
