"""Redis clients: what an address of a store stands for, as a client of redis-py.

``redis://HOST:PORT/DB``, ``rediss://`` with TLS, ``unix://PATH``, and ``redis+sentinel://HOST:PORT,HOST:PORT/NAME``,
where Sentinels say which server has the name; ``valkey://`` and ``valkeys://`` are other names for the first two.
"""

from __future__ import annotations

import importlib
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import attrs

from ..errors import ConfigError

_SCHEMES: Final = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix",
                   "redis+sentinel": "sentinel"}
_SENTINEL_PORT: Final = 26379
_WANTED: Final = "redis://HOST:PORT, rediss://, unix:///PATH or redis+sentinel://HOST:PORT,HOST:PORT/NAME"


@attrs.frozen(kw_only=True)
class StoreAddress:
    """Where a store is, and who says so.

    Attributes:
        url: See above; without credentials.
        username: None: the default user.
        password: None: there is none.
        sentinel_password: Of the Sentinels; None: there is none.
        ca_file: Certificates that vouch for the server; None: those of the system.
    """

    url: str
    username: str | None = None
    password: bytes | str | None = attrs.field(default=None, repr=False)
    sentinel_password: bytes | str | None = attrs.field(default=None, repr=False)
    ca_file: str | None = None

    def client(self, *, name: str, connect_s: float) -> Any:
        """A new client (redis.asyncio.Redis), which has not connected yet and repeats nothing.

        Args:
            name: By which the server lists the connection.
            connect_s: Longest time for connecting, seconds.

        Raises:
            ConfigError: redis-py is missing.
        """
        asyncio_redis = redis_module("redis.asyncio")
        retry = redis_module("redis.asyncio.retry").Retry
        options: dict[str, Any] = {
            "username": self.username, "password": self.password, "socket_connect_timeout": connect_s,
            "client_name": name, "retry": retry(redis_module("redis.backoff").NoBackoff(), 0)}
        parts = urlsplit(self.url)
        kind = _SCHEMES[parts.scheme]
        if kind == "sentinel":
            hosts = [_host_and_port(each) for each in parts.netloc.split(",")]
            master, _, database = parts.path.strip("/").partition("/")
            sentinels = redis_module("redis.asyncio.sentinel").Sentinel(hosts, sentinel_kwargs={
                "password": self.sentinel_password, "socket_connect_timeout": connect_s, "socket_timeout": connect_s,
                "retry": options["retry"]})
            return sentinels.master_for(unquote(master), db=int(database or 0), **options)
        if kind == "rediss":
            options["ssl_ca_certs"] = self.ca_file
        return asyncio_redis.Redis.from_url(f"{kind}{self.url[len(parts.scheme):]}", **options)


def clients_of(client: Any) -> list[Any]:
    """All clients that must be closed with a *client* that StoreAddress has made: that, and those of its Sentinels."""
    sentinels = getattr(client.connection_pool, "sentinel_manager", None)
    return [client, *(() if sentinels is None else sentinels.sentinels)]


def _host_and_port(said: str) -> tuple[str, int]:
    host, colon, port = said.rpartition(":")
    return (host.strip("[]"), int(port)) if colon and not said.endswith("]") else (said.strip("[]"), _SENTINEL_PORT)


def redis_module(name: str) -> Any:
    """A module of redis-py.

    Raises:
        ConfigError: It is missing.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError("shared state needs redis-py; install it: pip install 'resilience-commands[redis]'") from None


def url_mistake(value: Any) -> str | None:
    """What is wrong with the URL of a store; None if nothing is."""
    if not isinstance(value, str):
        return f"must be a URL: {_WANTED}"
    try:
        parts = urlsplit(value)
        kind = _SCHEMES.get(parts.scheme)
        if kind is None:
            return f"must begin with a known scheme: {_WANTED}"
        if "@" in (parts.netloc if kind == "unix" else value) or "password" in parts.query:
            return 'must have no credentials: say username = "NAME" and password = "env:NAME" or "file:PATH"'
        if parts.query or parts.fragment:
            return "must have no query and no fragment"
        path = parts.path.strip("/")
        if kind == "unix":
            return None if parts.path and not parts.netloc else "must have the path of a socket: unix:///PATH"
        if kind == "sentinel":
            database = path.partition("/")[2]
            if not path or (database and not database.isdigit()) or not all(
                    each.rpartition(":")[2].isdigit() or ":" not in each
                    for each in parts.netloc.split(",") if each) or "" in parts.netloc.split(","):
                return "must have Sentinels and a name: redis+sentinel://HOST:PORT,HOST:PORT/NAME"
            return None
        if not parts.hostname or (parts.port is not None and not parts.port) or (path and not path.isdigit()):
            return f"must have a host, and nothing after it but a port and a database's number: {_WANTED}"
    except ValueError:  # which says what it is about, perhaps a part of a password
        return f"is no URL with a host, and a port from 1 to 65535: {_WANTED}"
    return None
