"""Changes: what of a gateway's configuration cannot change before a restart, and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from ...errors import ConfigError
from ...shared.connection import KEY as SHARED
from .effective import toml
from .file import GatewayConfig

_CONNECTIONS: Final = "how connections begin is settled at the start; the files of tls may change at any time"
_SOCKETS: Final = "the sockets that the gateway listens on are opened when it starts"
#: What cannot change, by its name in the file: how it is read, and the reason.
_UNCHANGEABLE: Final[dict[str, tuple[Callable[[GatewayConfig], Any], str]]] = {
    "gateway.bind": (lambda config: config.gateway.bind, _SOCKETS),
    "admin.bind": (lambda config: None if config.admin is None else config.admin.bind, _SOCKETS),
    "gateway.tls": (lambda config: config.gateway.tls, _CONNECTIONS),
    "gateway.proxy_protocol": (lambda config: config.gateway.proxy_protocol, _CONNECTIONS),
    "gateway.http2": (lambda config: config.gateway.http2, _CONNECTIONS),
    "gateway.drain_timeout": (lambda config: config.gateway.drain_timeout, "the workers are started with it"),
    "process.watch": (lambda config: config.process.watch, "a watch begins when the gateway starts"),
    "process.workers": (lambda config: config.process.workers, "the workers are started when the gateway is"),
}


def unchangeable(old: GatewayConfig, new: GatewayConfig) -> Iterator[tuple[str, str]]:
    """Each setting in which *new* differs from *old* although it cannot, and what to say of it."""
    for name, (read, why) in _UNCHANGEABLE.items():
        before, after = read(old), read(new)
        if before != after:
            yield name, f"{name} cannot change{_told(before, after)} while the gateway runs: {why}; restart it"
    for one, other in ((old, new), (new, old)):
        if one.shared is not None and SHARED in other.services:
            yield f"services.{SHARED}", (
                f"services.{SHARED} and the table [shared] cannot take each other's place while the gateway runs: both "
                f"have the command {SHARED!r}; restart it")


def _told(*values: Any) -> str:
    """From what a setting changes to what, if that is short: a table is not."""
    if not all(value is None or isinstance(value, (bool, int, float, str)) for value in values):
        return ""
    before, after = ("nothing" if value is None else value if isinstance(value, str) else toml(value)
                     for value in values)
    return f" from {before} to {after}"


def refuse_unchangeable(old: GatewayConfig, new: GatewayConfig) -> None:
    """Make sure that a running gateway can change from *old* to *new*.

    Raises:
        ConfigError: It cannot; the message has every reason.
    """
    mistakes = list(unchangeable(old, new))
    if mistakes:
        raise ConfigError("; ".join(message for _, message in mistakes), mistakes[0][0].rpartition(".")[2])
