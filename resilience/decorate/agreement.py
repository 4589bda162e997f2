"""Agreement: functions of one key must say the same of their command; the message says where another differs."""

from __future__ import annotations

from typing import Any

import attrs

from ..commands.command import Command, internals_of
from ..core.callable_identity import same_word
from ..engine.callables import flavour_of, place_of
from ..errors import ConfigError
from ..policies.settings import Settings
from .declaration import Declaration
from .wrapper_stack import guard_of


def agree(command: Command, declaration: Declaration, group: str, settings: Settings, stated: frozenset[str],
          redefined: bool) -> None:
    """Raise ConfigError if another function says otherwise about the same key."""
    if command.group != group and declaration.group is not None:
        raise ConfigError(f"Command {command.key!r} is in group {command.group!r} already{_place(command)}; this "
                          f"function asks for {group!r}. Functions with the same key need the same group; "
                          "registry.remove(key) lets the command begin anew.", "group")
    name = None if redefined else internals_of(command).conflict(settings, stated)
    if name is not None:
        known, wanted = _differing(getattr(internals_of(command).declared, name), getattr(settings, name))
        raise ConfigError(f"Command {command.key!r} already has {name}={known}{_place(command, name)}; this function "
                          f"asks for {wanted}. Functions with the same key need the same settings.", name)


def _place(command: Command, name: str | None = None) -> str:
    """Where the function stands that says *name* about the command, in brackets; "" if that cannot be told."""
    others = [each for each in map(guard_of, internals_of(command).functions) if each is not None]
    stated = [each for each in others
              if name is None or name in each.declaration.settings(each.declaration.runs(flavour_of(each.fn)))[1]]
    return next(filter(None, (place_of(other.fn) for other in stated or others)), "")


def _differing(known: Any, wanted: Any) -> tuple[str, str]:
    """Two values of a setting as a message shows them: of two policies of one class only the fields that differ."""
    alike = attrs.has(type(known)) and type(known) is type(wanted)
    return _short(known, wanted if alike else None), _short(wanted, known if alike else None)


def _short(value: Any, other: Any) -> str:
    """A *value* without the fields that it shares with the *other*, or, without another, with the defaults."""
    if not attrs.has(type(value)):
        return repr(value)
    fields = []
    for field in attrs.fields(type(value)):
        own = getattr(value, field.name)
        usual = field.default if other is None else getattr(other, field.name)
        if not field.repr or isinstance(usual, attrs.Factory) or same_word(own, usual):  # type: ignore[arg-type]
            continue
        fields.append(f"{field.name}={own!r}")
    return f"{type(value).__name__}({', '.join(fields)})"
