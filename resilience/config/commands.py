"""Commands: the keys that a table about commands may have, and what such a table says.

The keys are not listed here, but made from the policies' kits: ``breaker`` is a table with
that policy's fields; ``timeout``, whose kit names a principal field, is a plain value with
that field's type and range; ``max_concurrent``, whose policy has further fields that TOML can
say, may be that plain value or a table. Fields that TOML cannot say (functions, classes) are left to
the code.

What a table says is kept flat and partial, a *layer*: by dotted name, each value
with its place. ``breaker = { open_for = 2.0 }`` is two entries: ``breaker`` is on,
and ``breaker.open_for``. So layers are put on top of each other by dict.update(). Of a policy with a principal field
the value of that field stands under the policy's own name, so that ``max_concurrent = 8`` changes the number that a
layer below says, and leaves its ``max_wait``.
"""

from __future__ import annotations

import functools
import math
import random
import typing
from collections.abc import Callable, Container, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import attrs

from ..core.checks import text
from ..core.thread_pool import ThreadPool
from ..decorate.commands import command
from ..engine.kit import Kit
from ..errors import ConfigError
from ..policies.order import setting_kits
from ..policies.settings import Settings
from ..policies.shadow import Shadow
from ..registry import Registry
from .constraints import constraints
from .document import Document
from .hints import unknown
from .mistakes import Place, shown
from .structure import mistakes_in, structured_field, without_none
from .targets import REFERENCE, exception_reference

_PLAIN: Final = (int, float, bool, str)
_LARGE: Final = 1_000_000_000  # where a range has no end
_MIXTURES: Final = 300


class SourcedValue(NamedTuple):
    """A value and who said it; of a policy's own name, True (it is on) or None (it is off)."""

    value: Any
    place: Place


Layer = Mapping[str, SourcedValue]


@attrs.frozen
class Setting:
    """One key of a command's table.

    Attributes:
        name: The key.
        field: Of a plain value: its type, range and default.
        policy: Of a table: the policy's class.
        fields: Of a table: its keys.
        optional: Whether ``false`` turns it off.
        kit: The policy's kit, of what may be a plain value or a table.
    """

    name: str
    field: attrs.Attribute[Any] | None
    policy: type[Any] | None
    fields: Mapping[str, attrs.Attribute[Any]]
    optional: bool
    kit: Kit | None = None

    def leaf(self, field: str) -> str:
        """The dotted name under which a layer has this field."""
        return self.name if self.field is not None and field == self.field.name else f"{self.name}.{field}"


@attrs.frozen(kw_only=True)
class GuardTable:
    """What an entry of ``[guards]`` says beyond a command's settings.

    Attributes:
        key: Name of the command; default: the target as it is written.
        group: Shares a dashboard section and a thread pool; default: the target's module.
        isolation: "semaphore": run where the caller is. "thread": on the group's worker threads. "auto": thread for
            a plain function with a timeout, else semaphore.
        pool: The group's threads, for thread isolation.
        ignore: Exceptions that are the caller's own mistakes, each as "module:Name" or as the name of a built-in one;
            a single one needs no list.
        fallback: "module:function" that answers instead of an error.
        raise_as: Exception that the target's callers know, as "module:Name" or as the name of a built-in one: refusals
            and timeouts are instances of it too.
    """

    key: str | None = attrs.field(default=None, validator=text(optional=True))
    group: str | None = attrs.field(default=None, validator=text(optional=True))
    isolation: Literal["auto", "semaphore", "thread"] = "auto"
    pool: ThreadPool | None = None
    ignore: tuple[str, ...] = attrs.field(
        default=(), validator=attrs.validators.deep_iterable(exception_reference), metadata={"one_is_enough": True})
    fallback: str | None = attrs.field(default=None, validator=attrs.validators.optional(REFERENCE))
    raise_as: str | None = attrs.field(default=None, validator=attrs.validators.optional(exception_reference))


#: The keys that only an entry of ``[guards]`` has, each with what to say of it elsewhere.
OF_GUARDS_ALONE: Final[Mapping[str, str]] = {
    field.name: "can only be given in code, or in an entry of [guards]" for field in attrs.fields(GuardTable)}


def settings() -> Mapping[str, Setting]:
    """The keys of a command, by name."""
    return _settings(setting_kits())


@functools.cache
def _settings(kits: tuple[Kit, ...]) -> Mapping[str, Setting]:
    found = {}
    for kit in kits:
        known = _expressible(kit.policy)
        if kit.principal is None:
            found[kit.name] = Setting(kit.name, None, kit.policy, known, optional=True)
        else:
            plain = known[kit.principal]
            has_table = len(known) > 1
            found[kit.name] = Setting(kit.name, plain, kit.policy if has_table else None, known if has_table else {},
                                      without_none(plain.type)[1], kit)
    plain = _expressible(Shadow)["shadow"]
    found["shadow"] = Setting("shadow", plain, None, {}, without_none(plain.type)[1])
    return {name: found[name] for name in (*(field.name for field in attrs.fields(Settings)), *found) if name in found}


def guard_settings() -> Mapping[str, Setting]:
    """The keys of an entry of ``[guards]``: those of a command, and those of GuardTable."""
    return _guard_settings(setting_kits())


@functools.cache
def _guard_settings(kits: tuple[Kit, ...]) -> Mapping[str, Setting]:
    attrs.resolve_types(GuardTable)
    own = {field.name: Setting(field.name, field, None, {}, without_none(field.type)[1])
           for field in attrs.fields(GuardTable)}
    return {**_settings(kits), **own}


def _expressible(policy: type[Any]) -> dict[str, attrs.Attribute[Any]]:
    """The fields of a policy that TOML can say; none of a user's class whose annotations cannot be read here."""
    try:
        attrs.resolve_types(policy)
    except NameError:  # of an import for type checkers only, say
        return {}
    fields = [_in_file(field) for field in attrs.fields(policy) if field.init]
    return {field.name: field for field in fields if _is_plain(field.type)}


def _in_file(field: attrs.Attribute[Any]) -> attrs.Attribute[Any]:
    """The field as files write it, where that is another type: a "module:Name" that its converter looks up."""
    return field.evolve(type=field.metadata["in_file"], validator=field.metadata["in_file_check"]) \
        if "in_file" in field.metadata else field


def _is_plain(wanted: Any) -> bool:
    inner, _ = without_none(wanted)
    if inner in (int | str, float | str):
        return True
    if typing.get_origin(inner) is tuple:
        return all(_is_plain(each) for each in typing.get_args(inner) if each is not Ellipsis)
    return inner in _PLAIN or typing.get_origin(inner) is Literal


def layer_at(document: Document, path: tuple[str, ...], known: Mapping[str, Setting],
             refused: Mapping[str, str] = MappingProxyType({}), besides: Container[str] = ()) -> Layer:
    """What the table at *path* says; what is wrong in it is noted in *document*, and left out.

    Args:
        document: The file.
        path: Where the table stands.
        known: The keys that it may have.
        refused: Keys that it cannot have although others do, each with the reason why.
        besides: Keys of it that are read elsewhere.
    """
    table, layer = document.at(*path), {}
    if not isinstance(table, Mapping):
        document.mistake(path, f"must be a table, not {shown(table)}")
        return {}
    for name, value in table.items():
        setting, where = known.get(name), (*path, name)
        if name in besides:
            continue
        if setting is None:
            document.mistake(where, refused.get(name) or unknown(name, known, path=path, value=value))
        elif setting.policy is None or (setting.field is not None and not isinstance(value, Mapping)):
            layer.update(_plain(document, where, name, value, setting.field))
        elif value is False and setting.optional:
            layer[name] = SourcedValue(None, document.place(where))
        else:
            layer.update(_policy(document, where, setting, value))
    return layer


def _plain(document: Document, where: tuple[str, ...], name: str, value: Any, field: Any) -> dict[str, SourcedValue]:
    try:
        return {name: SourcedValue(structured_field(value, field), document.place(where))}
    except Exception as error:  # noqa: BLE001 - whatever a validator raises is a mistake in the file
        for inner, message in mistakes_in(error):
            steps = inner[1:] if inner[:1] == (field.name,) else inner  # a validator's word is about where we are
            document.mistake((*where, *steps), message)
        return {}


def _policy(document: Document, where: tuple[str, ...], setting: Setting, value: Any) -> dict[str, SourcedValue]:
    if not isinstance(value, Mapping):
        document.mistake(where, f"must be a table{', or false' if setting.optional else ''}, not {shown(value)}"
                                f"{_table_hint(setting, value)}")
        return {}
    layer = {} if setting.field is not None else {setting.name: SourcedValue(True, document.place(where))}
    read = 0
    for name, inner in value.items():
        field = setting.fields.get(name)
        if field is None:
            document.mistake((*where, name), _in_code(setting, name) or unknown(name, setting.fields))
        else:
            said = _plain(document, (*where, name), setting.leaf(name), inner, field)
            layer.update(said)
            read += len(said)
    if setting.policy is not None and read == len(value):
        error = unsatisfiable(setting.policy, {name: layer[setting.leaf(name)].value for name in value})
        if error is not None:
            at = error.option if error.option in value else next(iter(value), None)
            document.mistake((*where, at) if at else where, str(error))
    return layer


def _in_code(setting: Setting, name: str) -> str:
    """What to say of a field whose values TOML cannot say; empty if the policy has no such field."""
    if setting.policy is None or not any(field.init and field.name == name for field in attrs.fields(setting.policy)):
        return ""
    return f"is a function, a class or an object, and can only be given in code: {setting.policy.__name__}({name}=...)"


def _table_hint(setting: Setting, value: Any) -> str:
    """The table that somebody may have meant who gave its first number, or true."""
    if value is True:
        return f"; write {setting.name} = {{}} to have it with its defaults"
    name, field = next(iter(setting.fields.items()), ("", None))
    if isinstance(field, attrs.Attribute) and not isinstance(value, (bool, Mapping)):
        try:
            structured_field(value, field)
        except Exception:  # noqa: BLE001 - whatever a validator raises: it is no such value
            return ""
        return f"; did you mean {setting.name} = {{ {name} = {shown(value)} }}?"
    return ""


def unsatisfiable(policy: type[Any], given: Mapping[str, Any]) -> ConfigError | None:
    """Why no values of its other fields could go with the *given* ones; None if some can.

    Another layer may say the rest, so that *given* alone need not make sense. What is tried for the rest: the
    defaults, the ends of their ranges, and mixtures of these.
    """
    ends, first = dict(_ends(policy, given)), None
    rng = random.Random(0)  # noqa: S311 - the same mixtures each time
    for attempt in range(_MIXTURES):
        if attempt < 3:
            rest = {name: values[attempt] for name, values in ends.items()}
        else:
            rest = {name: rng.choice((values[0], *values)) for name, values in ends.items()}
        try:
            policy(**rest, **given)
        except ConfigError as error:
            first = first or error
        except TypeError:  # a field without a default, which only the code can fill
            return None
        else:
            return None
    return first


def _ends(policy: type[Any], given: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any, Any]]]:
    """Default, largest and smallest value of each number or flag that is not *given*."""
    for name, field in _expressible(policy).items():
        wanted, _ = without_none(field.type)
        if wanted is bool and name not in given:
            yield name, (field.default, True, False)
        if name in given or wanted not in (int, float) or field.default is attrs.NOTHING:
            continue
        limits = constraints(field.validator)
        least = limits.get("minimum", math.nextafter(limits.get("exclusiveMinimum", 0.0), math.inf))
        yield name, (field.default, wanted(limits.get("maximum", _LARGE)), math.ceil(least) if wanted is int else least)


@functools.cache
def default_settings() -> Settings:
    """The settings of a command of which nothing is said: the library's defaults."""

    @command(registry=Registry())
    async def nothing_said() -> None: ...

    return nothing_said.resilience.settings


def field_defaults() -> Mapping[str, Any]:
    """What a field of a policy is if nobody says it, by dotted name; attrs.NOTHING for one that must be said."""
    return _field_defaults(setting_kits())


@functools.cache
def _field_defaults(kits: tuple[Kit, ...]) -> Mapping[str, Any]:
    return {f"{setting.name}.{name}": _default(field) for setting in _settings(kits).values()
            for name, field in setting.fields.items()}


def _default(field: attrs.Attribute[Any]) -> Any:
    default: Any = field.default
    return default.factory() if isinstance(default, attrs.Factory) and not default.takes_self else default  # type: ignore[arg-type]


def layer_of(value: Settings, place: Place) -> dict[str, SourcedValue]:
    """What *value* says, as a layer."""
    layer = {}
    for setting in settings().values():
        own = getattr(value, setting.name)
        if setting.policy is None or own is None:
            layer[setting.name] = SourcedValue(own, place)
        elif setting.field is not None:
            layer.update(_of_policy_or_plain(setting, own, place))
        else:
            layer[setting.name] = SourcedValue(True, place)
            layer.update({f"{setting.name}.{name}": SourcedValue(getattr(own, name), place) for name in setting.fields})
    return layer


def _of_policy_or_plain(setting: Setting, own: Any, place: Place) -> dict[str, SourcedValue]:
    """The leaves of a plain value; of a policy those of its fields."""
    assert setting.policy is not None
    assert setting.field is not None
    if not isinstance(own, setting.policy):
        return {setting.name: SourcedValue(own, place)}
    return {setting.leaf(name): SourcedValue(getattr(own, name), place) for name in setting.fields}


def policy_of(kit: Kit, leaves: Layer) -> Any:
    """The policy of this *kit*, made of nothing but what *leaves* say of its fields.

    Raises:
        ConfigError: They contradict each other, or do not say a field that has no default.
    """
    setting = settings()[kit.name]
    given = {field: leaves[leaf].value for field in setting.fields if (leaf := setting.leaf(field)) in leaves}
    missing = [field.name for field in attrs.fields(kit.policy)
               if field.init and field.default is attrs.NOTHING and field.name not in given]
    if missing:
        raise ConfigError(f"{kit.name} needs {', '.join(missing)}", kit.name)
    return kit.policy(**given)


def value_of(name: str, leaves: Layer, basis: Settings) -> Any:
    """The value of one setting when all layers are one; *basis* has what no layer can say.

    Raises:
        ConfigError: The layers contradict each other.
    """
    setting, said = settings()[name], leaves[name]
    if setting.policy is None or said.value is None:
        return said.value
    given = {field: leaves[leaf].value for field in setting.fields if (leaf := setting.leaf(field)) in leaves}
    known = getattr(basis, name)
    if setting.kit is not None:
        return setting.kit.said(setting.policy(**given))
    if known is None and any(field.default is attrs.NOTHING and field.name not in given
                             for field in attrs.fields(setting.policy)):
        raise ConfigError(f"there is no {name} to configure", name)
    make: Callable[..., Any] = setting.policy if known is None else functools.partial(attrs.evolve, known)
    return make(**given)
