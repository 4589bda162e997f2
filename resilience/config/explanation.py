"""Explanation: the settings of a command and where each comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from ..registry import Registry
from .commands import Said, settings
from .mistakes import Place

if TYPE_CHECKING:
    from .overlay import Overlay

LIVE = Place("configure() of its handle")


class Origin(NamedTuple):
    """One setting.

    Attributes:
        name: Dotted, such as ``breaker.open_for``.
        value: What is in force.
        place: Who said so.
    """

    name: str
    value: Any
    place: Place


@attrs.frozen(kw_only=True)
class Explanation:
    """What is in force for a command, and why; printed, a table.

    Attributes:
        key: The command's.
        group: The command's; None: there is no such command so far.
        settings: Each with its origin; empty if there is no such command so far.
        guards: Entries of ``[guards]`` that guard by this command: target, place, and whether calls are guarded now.
    """

    key: str
    group: str | None
    settings: tuple[Origin, ...]
    guards: tuple[tuple[str, Place, bool], ...]

    def __str__(self) -> str:
        group = "not declared so far" if self.group is None else f"group {self.group}"
        lines = [f"{self.key} ({group})"]
        lines += [f"  guards {target}{'' if placed else ', once it is imported'} ({place.file}:{place.line})"
                  if place.line else f"  guards {target}{'' if placed else ', once it is imported'} ({place.file})"
                  for target, place, placed in self.guards]
        shown = [(each.name, _text(each.value), str(each.place)) for each in self.settings]
        widths = [max((len(row[column]) for row in shown), default=0) for column in (0, 1)]
        lines += [f"  {name:<{widths[0]}}  {value:<{widths[1]}}  {place}" for name, value, place in shown]
        return "\n".join(lines)


def explained(key: str, registry: Registry, overlay: Overlay) -> Explanation:
    """See Configuration.explain()."""
    with registry.lock:
        command, tables, patches = registry.get(key), overlay.tables, overlay.patches
        entries = [entry for entry in tables.guards.values() if entry.key == key]
        if command is None and not entries and key not in tables.commands:
            raise KeyError(key)
        origins = []
        if command is not None:
            effective = tables.effective(command)
            for name in settings():
                live = getattr(command.settings, name)
                if live != effective.values[name]:
                    origins += _parts(name, live, {})
                else:
                    origins += _parts(name, live, effective.leaves)
    guards = tuple((entry.target, entry.place, entry.target in patches and patches[entry.target].is_in_place)
                   for entry in entries)
    return Explanation(key=key, group=None if command is None else command.group, settings=tuple(origins),
                       guards=guards)


def _parts(name: str, value: Any, leaves: dict[str, Said]) -> list[Origin]:
    """A setting, or each of a policy's, with the place in *leaves*; without one, a handle changed it."""

    def place(dotted: str) -> Place:
        return leaves[dotted].place if dotted in leaves else LIVE

    setting = settings()[name]
    if setting.policy is None or value is None:
        return [Origin(name, value, place(name))]
    return [Origin(f"{name}.{inner}", getattr(value, inner), place(f"{name}.{inner}")) for inner in setting.fields]


def _text(value: Any) -> str:
    if value is None:
        return "off"
    return str(value).lower() if isinstance(value, bool) else str(value)
