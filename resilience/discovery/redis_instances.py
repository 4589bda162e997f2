"""Redis instances: how the instances of a service lie in Redis, for who registers and who lists them.

| key | type | content |
|---|---|---|
| ``PREFIX:{APP}`` | set | IDs of the instances |
| ``PREFIX:{APP}:ID`` | string with a TTL | an instance as JSON: ``url``, perhaps ``weight``, ``zone`` and so on |

The TTL of the string is the lease, so that the server's clock alone decides: an ID without its string is nobody. To
register and to renew is the same: SET with EX, and SADD. Two commands of a shell script can do it. The braces have a
cluster keep all keys of one service in one place.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlsplit

from ..core.checks import text
from ..errors import ConfigError
from .instance import Instance, table_of

PREFIX: Final = "resilience:instances"
#: Of one instance's JSON; what is longer is a mistake.
MAX_BYTES: Final = 4096


def set_key(prefix: str, app: str) -> str:
    """The key of the set of a service's IDs."""
    return f"{prefix}:{{{app}}}"


def instance_key(prefix: str, app: str, name: str) -> str:
    """The key of one instance of a service."""
    return f"{set_key(prefix, app)}:{name}"


def written(instance: Instance) -> str:
    """An instance as it lies there."""
    return json.dumps(table_of(instance))


def instance_in(content: bytes) -> Instance:
    """The instance that lies there.

    Raises:
        ConfigError: It has a mistake.
    """
    if len(content) > MAX_BYTES:
        raise ConfigError(f"an instance must be at most {MAX_BYTES} bytes of JSON")
    try:
        said: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise ConfigError("an instance must be JSON") from None
    return Instance.of(said)


def server_name(url: str) -> str:
    """The server of a *url*, without what is secret in it.

    Raises:
        ConfigError: It is no URL of a Redis server.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except (ValueError, AttributeError, TypeError):
        port, parts = None, urlsplit("")
    if parts.scheme == "unix" and parts.path:
        return parts.path
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ConfigError("must be a redis://, rediss:// or unix:// URL, such as redis://redis-1:6379/0")
    return f"{parts.hostname}:{port or 6379}{parts.path.rstrip('/')}"


def check_names(app: str, prefix: str) -> None:
    """Check that keys can be made of these.

    Raises:
        ConfigError: They cannot.
    """
    for name, value in (("app", app), ("prefix", prefix)):
        mistake = text().mistake(value)
        if mistake is not None:
            raise ConfigError(f"{name} {mistake}", name)
