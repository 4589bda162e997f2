"""Live settings: what a configuration does to a live command, in one place.

The caller holds the registry's lock for all but told(), so that the commands of a
registry change together; what listeners hear of is told after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..commands.command import Command, internals_of
from ..core.events import CommandConfigured
from ..engine.kit import Afterwards
from ..errors import ConfigError
from ..policies.contradictions import CONTRADICTED
from ..policies.settings import settings_with


class Change(NamedTuple):
    """What was done to a command, and is yet to be told."""

    command: Command
    names: tuple[str, ...]
    afterwards: list[Afterwards]


def refusal(command: Command, name: str, value: Any) -> str | None:
    """Why *value* cannot be in force for the setting *name* of *command*; None if it can."""
    try:
        internals_of(command).check_setting(name, value)
    except ConfigError as error:
        return str(error)
    return None


def refused_together(command: Command, values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Which setting of the *values* is in the way of the others, each of which can be in force, and why."""
    try:
        internals_of(command).check_together(values)
    except ConfigError as error:
        return "failures" if error.option in CONTRADICTED else "timeout", str(error)
    return None


def changed(command: Command, values: Mapping[str, Any]) -> Change | None:
    """Bring *values* into force; None if they are."""
    news = {name: value for name, value in values.items() if getattr(command.settings, name) != value}
    if not news:
        return None
    return Change(command, tuple(news), internals_of(command).apply(settings_with(command.settings, **news)))


def told(change: Change) -> None:
    """Let the circuit and the listeners know; holds no lock."""
    command, internals = change.command, internals_of(change.command)
    internals.finish(change.afterwards)
    services = internals.services
    services.emitter.emit(CommandConfigured(command.key, command.group, change.names, services.clock()))


def declared(command: Command) -> Any:
    """The settings that the command's functions declare."""
    return internals_of(command).declared
