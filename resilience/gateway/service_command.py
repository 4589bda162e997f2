"""Service commands: which settings the command around the calls of a service may have, and what they make of it.

They are not listed here: a service may have every setting of a command (config/commands.py), policies of users' own
included, but for those that REFUSED names. What the settings of one service say together is tried on a command in a
registry of its own, so that the engine's own rules hold for the file, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

import attrs

from ..commands.command import internals_of
from ..config.commands import Setting, default_settings, layer_at, layer_of, policy_of, settings
from ..config.document import Document
from ..config.layers import LIBRARY
from ..config.structure import mistakes_in
from ..core.checks import unknown_option
from ..core.failure_rules import FailureRules
from ..core.http_status import HttpStatus
from ..decorate.commands import command
from ..errors import ConfigError
from ..policies.failures import FAILURES
from ..policies.order import kit_named, setting_kits
from ..registry import Registry, table_of
from .upstream import Exchange, InvalidRequestError, Request

Exchanging = Callable[[Request], AsyncGenerator[Exchange, None]]

GROUP: Final = "gateway"
#: What a service has that says nothing, where it is not what every command has.
#: 501 and 505 are about the request.
USUAL: Final[Mapping[str, Any]] = {
    "max_concurrent": 100, "failures": FailureRules(status=HttpStatus((500, 502, 503, 504)))}
_EVENT_LOOP: Final = "the gateway calls its services on its event loop and has no worker threads"
#: What commands have elsewhere and a service cannot have, with the reason.
REFUSED: Final[Mapping[str, str]] = {
    "retry": "the gateway passes a request's body on as it arrives and cannot send it again; let the client retry",
    "failover": "the gateway balances among the instances of a service, and sends no request's body twice",
    "hedge": "the gateway passes a request's body on as it arrives and cannot send it twice",
    "cache": "the gateway passes a response's body on as it arrives and keeps none; put a caching proxy in front of it",
    "stream_timeout": "a service answers once, with the headers of a response; use timeout for the wait for these, and "
                      "idle_timeout for that for each piece of the body",
    "fallback": "the gateway answers for a service with an error response (RFC 9457); there is no function to call",
    "raise_as": "the gateway itself answers for refusals and timeouts; there is no code that expects another class",
    "ignore": "the gateway itself knows which requests are the client's fault",
    "key": "the key of a service's command is the name of the service",
    "group": f"the group of a service's command is {GROUP}",
    "isolation": _EVENT_LOOP,
    "pool": _EVENT_LOOP,
}


def accepted() -> Mapping[str, Setting]:
    """The settings that a service's command may have, by name."""
    return {name: setting for name, setting in settings().items() if name not in REFUSED}


def guarded(exchange: Exchanging, said: Mapping[str, Any], *, registry: Registry, key: str | None = None,
            anew: bool = False) -> Exchanging:
    """Guard the exchanges of a service as its settings say.

    Args:
        exchange: Makes one exchange.
        said: The settings, by name.
        registry: Keeps the command.
        key: Of the command.
        anew: The settings take the place of those that the registry's command with this key has. It keeps its circuit,
            its statistics, and what its limits have booked: nothing is refilled.

    Raises:
        ConfigError: A setting is out of range or contradicts another; nothing has changed then.
    """
    replaced = {name for kit in setting_kits() if said.get(kit.name) is not None for name in kit.instead_of}
    usual = {name: value for name, value in USUAL.items() if name not in replaced}
    guard: Callable[[Exchanging], Exchanging] = command(
        **{**usual, **said}, group=GROUP, ignore=(InvalidRequestError,), key=key, registry=registry)
    known = registry.get(key) if anew and key is not None else None
    if known is None:
        return guard(exchange)
    with table_of(registry).lock:
        restore = internals_of(known).retract()
        try:
            return guard(exchange)
        except BaseException:
            restore()
            raise


def judged(said: Mapping[str, Any]) -> frozenset[int]:
    """The statuses of which the failure rules among the settings say anything."""
    rules = FAILURES.meant({**USUAL, **said}["failures"])
    return frozenset() if rules is None or rules.statuses is None else frozenset(rules.statuses.verdicts())


def suited(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that a service's command may have these settings.

    Raises:
        ConfigError: It cannot; the message says why.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{attribute.name} must be settings by name, such as {{'timeout': 0.5}}, not {value!r}",
                          attribute.name)
    for name in value:
        if name in REFUSED:
            raise ConfigError(REFUSED[name], name)
        if name not in settings():
            raise unknown_option(name, accepted(), attribute.name)
    guarded(_no_exchange, value, registry=Registry())


async def _no_exchange(request: Request) -> AsyncGenerator[Exchange, None]:
    """Stand in for an exchange, and be never called."""
    none: tuple[Exchange, ...] = ()
    for each in none:
        yield each


def read(document: Document, *path: str) -> dict[str, Any]:
    """The settings in the table at *path*, by name; what is wrong is noted in *document*, and left out."""
    layer = layer_at(document, path, accepted(), REFUSED)
    leaves = {**layer_of(default_settings().changed(**USUAL), LIBRARY), **layer}
    wrong = [f"{mistake.key}." for mistake in document.mistakes]
    found = {}
    for name in dict.fromkeys(leaf.partition(".")[0] for leaf in layer):
        kit, value, key = kit_named(name), leaves[name].value, document.place((*path, name)).key
        if any(each.startswith(f"{key}.") for each in wrong):
            continue
        try:
            is_table = accepted()[name].policy is not None and value is not None
            found[name] = kit.said(policy_of(kit, leaves)) if kit is not None and is_table else value
        except ConfigError as error:
            for inner, message in mistakes_in(error, (name,)):
                document.mistake((*path, *inner), message)
    return found
