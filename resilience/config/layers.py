"""Layers: which of several values is in force for a command.

What is said about one command beats what is said about many; between two that
are said about as many, the file beats the code. From weak to strong:

1. the library's default
2. ``[defaults]``
3. ``[groups.NAME]``
4. what the decorator says
5. the command's entries of ``[guards]``, which stand for a decorator
6. ``[commands.KEY]``; of a keyed function's command, that of the function's name, then that of the key

Without ``[groups]`` this is Hystrix's order. Variables of the environment are put
on top of the tables of the file, each on that of its own name. What the code
gives a value equal to the library's default counts as not said. Where all that is said about
many is that a policy is off, any word of the code about it means that it is on.

A Tables is immutable; reload swaps one for another.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import attrs

from ..commands.command import Command, internals_of
from ..errors import ConfigError
from .commands import (
    OF_GUARDS_ALONE,
    Layer,
    Setting,
    SourcedValue,
    default_settings,
    field_defaults,
    guard_settings,
    layer_at,
    layer_of,
    settings,
    value_of,
)
from .document import Document
from .hints import unknown
from .live_settings import declared, refusal, refused_together
from .mistakes import Mistake, Place, mistake_at, shown
from .patches import GuardEntry, with_pools
from .targets import REFERENCE, TargetError, check_exists
from .well_known import ONCE, WELL_KNOWN

TABLES: Final = ("defaults", "groups", "commands", "guards")
#: Names the modules that define policies of users' own, whose settings are known once they are imported.
IMPORTS: Final = "imports"
LIBRARY: Final = Place("the library's default")
CODE: Final = Place("the code")


class Effective(NamedTuple):
    """The settings that apply to one command.

    Attributes:
        values: By name of setting.
        leaves: By dotted name: each value and where it comes from.
        mistakes: What the file says about this very command, but cannot be.
    """

    values: dict[str, Any]
    leaves: dict[str, SourcedValue]
    mistakes: list[Mistake]


@attrs.frozen(kw_only=True)
class Tables:
    """What a configuration says.

    Attributes:
        defaults: About all commands.
        groups: By group.
        commands: By key.
        guards: By target.
        hints: What is allowed, and is most likely not meant.
    """

    defaults: Layer = attrs.field(factory=dict)
    groups: Mapping[str, Layer] = attrs.field(factory=dict)
    commands: Mapping[str, Layer] = attrs.field(factory=dict)
    guards: Mapping[str, GuardEntry] = attrs.field(factory=dict)
    hints: tuple[Mistake, ...] = ()

    def effective(self, command: Command) -> Effective:
        """The settings that apply to *command*, whatever it has now. The caller holds the registry's lock."""
        leaves, own = self._leaves(command)
        values: dict[str, Any] = {}
        mistakes: list[Mistake] = []
        for name in settings():
            said = getattr(declared(command), name)
            try:
                value = value_of(name, leaves, declared(command))
                why = refusal(command, name, value) if value != said else None
            except ConfigError as error:
                value, why = said, str(error)
                if said is None and name not in own:  # what is said about many says nothing to one that has none
                    values[name] = said
                    continue
                at = _blamed(name, error.option, leaves)
                known_as = internals_of(command).names[0]
                mistakes.append(mistake_at(at, f"of {known_as!r}, with all that is said about it: {why}"))
                why = None
            if why is not None:
                if name in own:
                    mistakes.append(mistake_at(leaves[name].place, why))
                value = said
            values[name] = value
        for _ in range(2):
            together = refused_together(command, values)
            if together is not None:
                name, why = together
                if name in own:
                    mistakes.append(mistake_at(leaves[name].place, why))
                values[name] = getattr(declared(command), name)
        return Effective(values, leaves, mistakes)

    def _leaves(self, command: Command) -> tuple[dict[str, SourcedValue], set[str]]:
        """All layers as one, and the settings that the file says of this very command."""
        leaves = layer_of(default_settings(), LIBRARY)
        guards = self._guards(command.key)
        stated = internals_of(command).stated  # a default that could not be, as a timeout of a generator, is off unsaid
        code = {name: each if name.split(".")[0] in stated else SourcedValue(each.value, LIBRARY)
                for name, each in layer_of(declared(command), CODE).items()}
        if guards:  # an entry declared the command, as it was then; what it says now is a layer of its own
            code = {name: each._replace(value=_field_default(name, each.value)) for name, each in code.items()}
        usual = {**field_defaults(), **{name: each.value for name, each in leaves.items()}}
        said = {name: each for name, each in code.items() if usual.get(name) != each.value}
        many = {**self.defaults, **self.groups.get(command.group, {})}
        said |= {name: code[name] for name in {dotted.split(".")[0] for dotted in said}
                 if name in many and many[name].value is None and name in code}
        leaves = {**{name: SourcedValue(each.value, LIBRARY) for name, each in code.items() if name not in leaves},
                  **leaves, **many, **said}
        own: set[str] = set()
        names = internals_of(command).names
        for layer in (*guards, *(self.commands.get(name, {}) for name in names)):
            live = {name: each for name, each in layer.items() if name.split(".")[0] in settings()
                    and name.split(".")[0] not in internals_of(command).elsewhere}
            leaves.update(live)
            own.update(name.split(".")[0] for name in live)
        return leaves, own

    def _guards(self, key: str) -> list[Layer]:
        return [entry.layer for entry in self.guards.values() if key in entry.keys]


def _field_default(name: str, declared: Any) -> Any:
    """What a field of a policy is if nobody says it; what was *declared* if somebody must, or if it is no field."""
    default = field_defaults().get(name, attrs.NOTHING)
    return declared if default is attrs.NOTHING else default


def _blamed(name: str, option: str | None, leaves: Mapping[str, SourcedValue]) -> Place:
    """Where to look if what is said of the setting *name* contradicts itself."""
    first = leaves.get(f"{name}.{option}")
    inner = [each for dotted, each in leaves.items() if dotted.startswith(f"{name}.") and each.place.line]
    if first is not None and first.place not in (LIBRARY, CODE):
        return first.place
    return inner[-1].place if inner else leaves[name].place


def tables_of(documents: Sequence[Document]) -> Tables:
    """What *documents* say, later ones on top; mistakes are noted in each."""
    defaults: dict[str, SourcedValue] = {}
    groups: dict[str, Layer] = {}
    commands: dict[str, Layer] = {}
    guards: dict[str, GuardEntry] = {}
    for document in documents:
        _import(document)
    for document in documents:
        for name in document.data:
            if name not in TABLES and name != IMPORTS:
                document.mistake((name,), unknown(name, TABLES, what="table"))
        defaults.update(layer_at(document, ("defaults",), settings(), OF_GUARDS_ALONE))
        _many(document, "groups", settings(), groups)
        _many(document, "commands", settings(), commands)
        entries: dict[str, Layer] = {target: entry.layer for target, entry in guards.items()}
        _many(document, "guards", guard_settings(), entries)
        for target, layer in entries.items():
            if target not in guards or guards[target].layer is not layer:
                place = document.place(("guards", target))
                for name in ("retry", "hedge") if target in ONCE else ():
                    if name in layer and layer[name].value is not None:
                        document.mistake(("guards", target, name), ONCE[target])
                guards[target] = GuardEntry(target=target, place=place,
                                            layer={**_well_known(target, layer, place), **layer})
    _check_shared(documents[-1] if documents else None, guards)
    return Tables(defaults=defaults, groups=groups, commands=commands, guards=with_pools(guards),
                  hints=tuple(hint for document in documents for hint in document.hints()))


def _well_known(target: str, layer: Layer, place: Place) -> Layer:
    """What is meant by the failures of a well-known *target* whose entry does not say so itself."""
    rules = WELL_KNOWN.get(target)
    if rules is None or "failures" in layer:
        return {}
    return {"failures": SourcedValue(True, place), **{
        f"failures.{name}": SourcedValue(value, place) for name, value in rules.items()}}


def _import(document: Document) -> None:
    """Import the modules that a *document* names, so that the policies that they define are known."""
    names = document.data.get(IMPORTS, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        document.mistake((IMPORTS,), f'must be a list of modules, such as ["shop.limits"], not {shown(names)}')
        return
    for index, name in enumerate(names):
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever the module does when it is imported
            document.mistake((IMPORTS, index), f"{name} cannot be imported: {type(error).__name__}: {error}")


def _many(document: Document, table: str, known: Mapping[str, Setting], found: dict[str, Layer]) -> None:
    for name in document.table(table):
        if not name:
            document.mistake((table, name), "a name cannot be empty")
            continue
        mistake = _target_mistake(name) if table == "guards" else None
        if mistake is not None:
            document.mistake((table, name), mistake)
        layer = layer_at(document, (table, name), known, {} if table == "guards" else OF_GUARDS_ALONE)
        found[name] = {**found[name], **layer} if name in found else layer


def _target_mistake(target: str) -> str | None:
    try:
        REFERENCE(None, attrs.fields(GuardEntry).target, target)
    except ConfigError:
        return 'a target must be "module:name", such as "billing.client:Client.charge"'
    try:
        check_exists(target)
    except TargetError as error:
        return str(error)
    return None


def _check_shared(document: Document | None, guards: Mapping[str, GuardEntry]) -> None:
    """Note where entries of one key, and so of one command, do not agree."""
    first: dict[tuple[str, str], tuple[GuardEntry, Any]] = {}
    for entry in guards.values():
        for name in {*entry.layer, "group"} - {"key", "ignore", "fallback", "isolation", "raise_as"}:
            value = entry.layer[name].value if name in entry.layer else None
            other, said = first.setdefault((entry.key, name), (entry, value))
            if said != value and document is not None:
                place = entry.layer[name].place if name in entry.layer else entry.place
                document.note(mistake_at(
                    place,
                    f"{other.target!r} has the same key {entry.key!r}, and another {name}; they share one command"))
