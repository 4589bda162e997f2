"""Explanation: what a call of a command passes, the settings in force, and where each comes from.

The chain belongs to a function, the settings to its command: two functions that
share a command may stand under different policies. What the chain leaves out is
switched off, by whoever the table says.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final, NamedTuple

import attrs

from ..commands.command import Command, internals_of
from ..commands.keyed_commands import KeyedCommands, keyspace_of
from ..core.retry import Retry
from ..core.setting_names import nearest
from ..engine.callables import GUARD, OF_ADAPTER, flavour_of, innermost, name_of, said
from ..engine.worst_case import WorstCase
from ..engine.wrapper_spec import Flavour
from ..policies.order import kit_of
from ..policies.settings import Settings, settings_with
from ..registry import Registry, default_registry, table_of
from .commands import SourcedValue, settings
from .layers import Tables
from .mistakes import Place
from .overlay import Overlay, overlay_of
from .targets import is_imported

ADAPTER: Final = Place("its adapter")
LIVE: Final = Place("configure() of its handle")
_STAYS: Final = ("it runs in its caller's thread, where no timeout can reach it; timeout=... or isolation='thread' "
                 "would move it to a worker thread")


class Chain(NamedTuple):
    """What a call of one function passes.

    Attributes:
        function: Module and qualified name.
        runs: "sync", "thread" (on a worker), "async", "generator" or "async generator".
        policies: Names of the policies in force, outermost first; what only counts is followed by "(shadow)".
        place: Where the function stands.
        hint: What may surprise whoever reads this, and what to do about it; empty: nothing.
        worst_case: How long one call may take, and how many attempts it may be, as the settings in force give it.
    """

    function: str
    runs: str
    policies: tuple[str, ...]
    place: Place
    hint: str = ""
    worst_case: WorstCase = WorstCase()

    def __str__(self) -> str:
        chain = f"{' > '.join((*self.policies, self.function))}  ({self.runs}, {self.place})"
        return "\n    ".join((chain, str(self.worst_case), *filter(None, (self.hint,))))


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
        chains: What a call passes, of each function that the command guards.
        settings: Each with its origin; empty if there is no such command so far.
        guards: Entries of ``[guards]`` that guard by this command: target, place, and whether calls are guarded now.
        keys: Of a keyed function: how many keys it has now, and how many it may have; None: its key is fixed.
    """

    key: str
    group: str | None
    chains: tuple[Chain, ...]
    settings: tuple[Origin, ...]
    guards: tuple[tuple[str, Place, bool], ...]
    keys: tuple[int, int] | None = None

    def __str__(self) -> str:
        group = "not declared so far" if self.group is None else f"group {self.group}"
        keys = "" if self.keys is None else "; a command for each key, {} of at most {} now".format(*self.keys)
        lines = [f"{self.key} ({group}{keys})", *(f"  {chain}" for chain in self.chains)]
        lines += [_guard(*each) for each in self.guards]
        shown = [(each.name, _text(each.value), str(each.place)) for each in self.settings]
        widths = [max((len(row[column]) for row in shown), default=0) for column in (0, 1)]
        lines += [f"  {name:<{widths[0]}}  {value:<{widths[1]}}  {place}" for name, value, place in shown]
        return "\n".join(lines)


def _guard(target: str, place: Place, placed: bool) -> str:
    when = "" if placed else ", but was replaced since" if is_imported(target) else ", once it is imported"
    return f"  guards {target}{when} ({place.file}{f':{place.line}' if place.line else ''})"


def explain(target: str | Command | Callable[..., Any], *, registry: Registry = default_registry) -> Explanation:
    """What a call of a command passes, the settings in force, and where each comes from; printed, a table.

    May be called from any thread; takes the registry's lock.

    Args:
        target: A command's key or handle, or a guarded function. Of a keyed function, or its handle, all that its
            commands have in common is told; for one of them, pass ``fn.resilience[key]``.
        registry: Where the command is, of a key; a guarded function knows its own, and so does the handle of one.

    Raises:
        KeyError: There is no such command, and no configuration speaks of one; or a keyed function is gone.
        TypeError: It is neither.
    """
    if isinstance(target, str):
        return _explained(str.__str__(target), registry)  # a member of an enumeration is printed by its name
    guard = getattr(getattr(target, "_self_guarded", target), GUARD, None)
    handle = getattr(target, "resilience", target)
    if isinstance(handle, KeyedCommands):
        return _explained_keyed(handle)
    if not isinstance(handle, Command):
        raise TypeError(f"explain() is told a command's key or handle, or a guarded function, not {target!r}")
    guards = [guard] if guard is not None else [getattr(each, GUARD) for each in internals_of(handle).functions]
    return _explained(handle.key, guards[0].registry if guards else registry)


def _explained(key: str, registry: Registry) -> Explanation:
    with table_of(registry).lock:
        overlay = overlay_of(registry)
        command, tables, guards = registry.get(key), overlay.tables, _guards(overlay, key)
        several = next((each for each in table_of(registry).living_keyspaces() if each.template.key == key), None)
        if command is None and several is not None and several.wrapper() is not None:
            return _explained_keyed(KeyedCommands(several))
        if command is None and not guards and key not in tables.commands:
            near = nearest(key, (*table_of(registry).commands, *tables.commands))
            raise KeyError(f"there is no command {key!r}{f'; did you mean {near!r}?' if near else ''}")
        chains = () if command is None else _chains(command)
        origins = [] if command is None else _origins(command, tables)
    return Explanation(key=key, group=None if command is None else command.group, chains=chains,
                       settings=tuple(origins), guards=guards)


def _guards(overlay: Overlay, key: str) -> tuple[tuple[str, Place, bool], ...]:
    """The entries of ``[guards]`` that guard by a command of this key, or by those of its targets."""
    patches = overlay.patches
    return tuple((entry.target, entry.place, entry.target in patches and patches[entry.target].is_in_force)
                 for entry in overlay.tables.guards.values() if key in entry.keys)


def _explained_keyed(handle: KeyedCommands) -> Explanation:
    """What all commands of a keyed function have in common: declared, said by a file, and by their handle."""
    keyspace = keyspace_of(handle)
    wrapper: Any = keyspace.wrapper()
    if wrapper is None:
        raise KeyError(f"the function {handle.key!r} is gone, and only its handle is left; explain one of its commands")
    function = getattr(wrapper, "_self_guarded", wrapper)
    registry: Registry = getattr(function, GUARD).registry
    with table_of(registry).lock:
        overlay, template = overlay_of(registry), keyspace.template
        meant = internals_of(template).meant
        changes = {name: meant(name, value) for name, value in keyspace.orders.changes.items()}
        tables = overlay.tables
        effective = tables.effective(template)
        values = {**effective.values, **changes}
        in_force = settings_with(template.settings, **values)
        origins = [origin for name in settings() for origin in _of_adapters(name, [function]) or
                   _parts(name, values[name], {} if name in changes else effective.leaves)]
    return Explanation(key=handle.key, group=handle.group, chains=(_chain(function, in_force),),
                       settings=tuple(origins), guards=_guards(overlay, handle.key),
                       keys=None if keyspace.is_fixed else (len(keyspace.table), handle.max_keys))


def _chains(command: Command) -> tuple[Chain, ...]:
    return tuple(_chain(each, command.settings) for each in internals_of(command).functions)


def _origins(command: Command, tables: Tables) -> list[Origin]:
    effective = tables.effective(command)
    origins = []
    for name in settings():
        live = getattr(command.settings, name)
        origins += _of_adapters(name, internals_of(command).functions) or \
            _parts(name, live, effective.leaves if live == effective.values[name] else {})
    return origins


def _of_adapters(name: str, functions: Sequence[Any]) -> list[Origin]:
    """The policy called *name* that the adapters see to by themselves whose *functions* these are."""
    policies = [policy for function in functions for policy in _of_adapter(function) if kit_of(policy).name == name]
    return [part._replace(place=ADAPTER) for policy in dict.fromkeys(policies) for part in _parts(name, policy, {})]


def _of_adapter(function: Any) -> tuple[Any, ...]:
    return said(getattr(function, GUARD).fn, OF_ADAPTER, tuple) or ()


def _chain(function: Any, in_force: Settings) -> Chain:
    guard = getattr(function, GUARD)
    own = flavour_of(guard.fn)
    flavour, can_move = guard.declaration.runs(own), guard.declaration.may_move(own)
    if can_move and internals_of(guard.command).runtime.is_moved:
        flavour, can_move = Flavour.THREAD, False
    shown = [text for policy in guard.declaration.policies if (text := _policy(policy, in_force)) is not None]
    code = said(innermost(guard.fn), "__code__", types.CodeType)
    worst = _worst_case(guard.declaration.policies, in_force, flavour)
    for policy in _of_adapter(function):
        if isinstance(policy, Retry):
            shown.insert(0, "Retry (the adapter's, of requests that may be repeated)")
            worst = kit_of(policy).worst_case(policy, attrs.evolve(worst, until=None, waits=0.0))
        else:
            shown.append(f"{type(policy).__name__} (the adapter's)")
    place = Place("no Python code") if code is None else Place(code.co_filename, code.co_firstlineno)
    return Chain(".".join(name_of(guard.fn)), flavour.value, tuple(shown), place, _STAYS if can_move else "",
                 worst)


def _worst_case(policies: Sequence[Any], in_force: Settings, flavour: Flavour) -> WorstCase:
    """Of a call that passes *policies*, outermost first; a gate that only counts lets nobody wait."""
    worst = WorstCase()
    for declared in reversed(policies):
        kit = kit_of(declared)
        policy = kit.meant(getattr(in_force, kit.name)) if kit.setting else declared
        policy = None if policy is None else kit.in_force(policy, flavour)
        if policy is not None and kit.name not in in_force.shadow:
            worst = kit.worst_case(policy, worst)
    if flavour.is_generator:
        worst = attrs.evolve(worst, seconds=inf, unbounded="a generator takes as long as its items and its consumer do")
    return worst


def _policy(policy: Any, in_force: Settings) -> str | None:
    """Its name, and in what way it is in force; None: it is not."""
    kit, name = kit_of(policy), type(policy).__name__
    if kit.setting and getattr(in_force, kit.name) is None:
        return None
    if kit.name in in_force.shadow:
        return f"{name} (shadow)"
    told = kit.condition or kit.detail(policy)
    return f"{name} ({told})" if told else name


def _parts(name: str, value: Any, leaves: dict[str, SourcedValue]) -> list[Origin]:
    """A setting, or each of a policy's, with the place in *leaves*; without one, a handle changed it."""

    def place(dotted: str) -> Place:
        return leaves[dotted].place if dotted in leaves else LIVE

    setting = settings()[name]
    is_plain = setting.field is not None and setting.policy is not None and not isinstance(value, setting.policy)
    if setting.policy is None or value is None or is_plain:
        return [Origin(name, value, place(name))]
    return [Origin(leaf, getattr(value, inner), place(leaf)) for inner in setting.fields
            for leaf in [setting.leaf(inner)]]


def _text(value: Any) -> str:
    if value is None or value == ():
        return "off"
    return str(value).lower() if isinstance(value, bool) else str(value)
