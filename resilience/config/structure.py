"""Structure: plain TOML values to attrs objects, by cattrs made strict.

Nothing is converted on the quiet: "5" is no number and 1 is no bool. Unknown keys
are errors. Each field's own validator is run where the field is read, so that one
pass finds the mistakes of all fields and not just the first. ``false`` turns an
optional setting off: TOML has no null.

cattrs is imported when the first value is read: it takes longer than all the rest
of the package, and most programs that import it read no file.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from ..core.checks import Check, NumberCheck
from ..core.setting_names import did_you_mean
from ..errors import ConfigError
from .constraints import constraints
from .hints import unknown, value_hint
from .mistakes import shown

if TYPE_CHECKING:
    import cattrs

_T = TypeVar("_T")
_KINDS: dict[Any, tuple[tuple[Any, ...], str]] = {
    str: ((str,), "a string"),
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
}

_NAMES: tuple[tuple[Any, str], ...] = (
    ((int, float), "a number"), (str, "a string"), (Mapping, "a table"), ((list, tuple), "a list"),
    ((date, time), "a date or a time"))


def structured(value: Any, wanted: type[_T]) -> _T:
    """*value* as a *wanted*, an attrs class.

    Raises:
        Exception: Of cattrs, holding every mistake; see mistakes_in().
    """
    return _converter().structure(value, wanted)


def structured_field(value: Any, field: attrs.Attribute[Any]) -> Any:
    """*value* as what *field*, of a class whose types are resolved, takes; its validator has seen it.

    Raises:
        Exception: As structured() does.
    """
    return _field_hook(_converter(), field)(value, None)


def mistakes_in(error: BaseException, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each mistake that structured() found, as (path from the value, message)."""
    from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

    if isinstance(error, BaseValidationError):
        for each in error.exceptions:
            yield from mistakes_in(each, (*path, *_steps(each)))
    elif isinstance(error, ForbiddenExtraKeysError):
        for name in sorted(error.extra_fields):
            yield (*path, name), unknown(name, [field.name for field in attrs.fields(error.cl) if field.init])
    elif isinstance(error, KeyError):
        yield path, "is missing"
    elif isinstance(error, ConfigError) and error.option is not None and (not path or path[-1] != error.option):
        yield (*path, error.option), str(error)
    else:
        yield path, str(error)


def _steps(error: BaseException) -> tuple[str | int, ...]:
    from cattrs.errors import AttributeValidationNote, IterableValidationNote

    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return (note.name,)
        if isinstance(note, IterableValidationNote):
            return (note.index,)
    return ()


@functools.cache
def _converter() -> cattrs.Converter:
    import cattrs

    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    for kind in _KINDS:
        converter.register_structure_hook(kind, _primitive)
    converter.register_structure_hook_func(lambda wanted: wanted in (int | str, float | str), _or_text)
    converter.register_structure_hook_factory(attrs.has, functools.partial(_class_hook, converter))
    return converter


def _primitive(value: Any, wanted: Any) -> Any:
    accepted, name = _KINDS[wanted]
    if not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool):
        raise ConfigError(f"must be {name}, not {told(value, wanted)}")
    return float(value) if wanted is float and abs(value) < 2**53 else value


def _or_text(value: Any, wanted: Any) -> Any:
    if isinstance(value, str):
        return value
    kind = next(each for each in typing.get_args(wanted) if each is not str)
    accepted, name = _KINDS[kind]
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise ConfigError(f"must be {name} or a string, not {shown(value)}")
    return _primitive(value, kind)


def _class_hook(converter: cattrs.Converter, wanted: type[Any]) -> Callable[[Any, Any], Any]:
    from cattrs.gen import make_dict_structure_fn, override

    attrs.resolve_types(wanted)
    hooks: dict[str, Any] = {
        field.name: override(struct_hook=_field_hook(converter, field)) for field in attrs.fields(wanted)
    }
    read = make_dict_structure_fn(
        wanted, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True, **hooks)

    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, wanted):  # somebody has read it already
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(f"must be a table, not {told(value, wanted)}")
        return read(value, wanted)

    return structure


def _field_hook(converter: cattrs.Converter, field: attrs.Attribute[Any]) -> Callable[[Any, Any], Any]:
    wanted, optional = without_none(field.type)

    def structure(value: Any, _: Any) -> Any:
        if optional and value is False:
            return None
        if field.metadata.get("one_is_enough") and isinstance(value, (int, str)) \
                and not isinstance(value, bool):
            value = [value]
        mistake = _odd(value, wanted)
        if mistake is not None:
            raise ConfigError(f"{mistake}{_off(optional)}, not {told(value, wanted)}"
                              f"{_hint(field, value, optional) or _choice_hint(value, wanted)}")
        result = converter.structure(value, wanted)
        if isinstance(field.validator, Check):
            mistake = field.validator.mistake(result, shown(value))
            if mistake is not None:
                has_hint = bool(field.validator.hint(result))
                raise ConfigError(f"{mistake}{'' if has_hint else _hint(field, value, optional)}")
        elif field.validator is not None:
            _check_names(field, result)
            field.validator(None, field, result)
        return result

    return structure


def _odd(value: Any, wanted: Any) -> str | None:
    """What *value* must be, if it is of another kind than what is *wanted*; what is inside a list is not looked at."""
    if typing.get_origin(wanted) is typing.Literal:
        choices = typing.get_args(wanted)
        if (type(value), value) not in [(type(each), each) for each in choices]:
            return f"must be one of {', '.join(map(str, choices))}"
    elif typing.get_origin(wanted) is tuple:
        if not isinstance(value, (list, tuple)):
            return "must be a list"
    elif wanted in _KINDS:
        accepted, name = _KINDS[wanted]
        if not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool):
            return f"must be {name}"
    elif (attrs.has(wanted) or is_mapping(wanted)) and not isinstance(
            value, (Mapping, typing.get_origin(wanted) or wanted)):  # somebody may have read it already
        return "must be a table"
    return None


def told(value: Any, wanted: Any) -> str:
    """A *value* of another kind than what is *wanted*, for a message: by its kind, if it may be, or hold, a secret."""
    is_plain = isinstance(value, (bool, int, float)) if wanted is not str else isinstance(value, bool)
    is_table = any(attrs.has(each) or is_mapping(each) for each in (wanted, *typing.get_args(wanted)))
    if is_plain or (isinstance(value, str) and not is_table):
        return shown(value)
    return next((name for kind, name in _NAMES if isinstance(value, kind)), "") or shown(value)


def _off(optional: bool) -> str:
    return ", or false" if optional else ""


def _hint(field: attrs.Attribute[Any], value: Any, optional: bool) -> str:
    check = field.validator if isinstance(field.validator, NumberCheck) else None
    hint = value_hint(field.name, value, optional=optional, is_share=check is not None and check.is_share,
                      accepts=(lambda _: False) if check is None else check.accepts)
    return f"; {hint}" if hint else ""


def _choice_hint(value: Any, wanted: Any) -> str:
    """The word, or the list of one word, that somebody may have meant who wrote this one."""
    if not isinstance(value, str) or not value:
        return ""
    if typing.get_origin(wanted) is tuple:
        return f"; write [{json.dumps(value, ensure_ascii=False)}]" if str in typing.get_args(wanted) else ""
    words = map(str, typing.get_args(wanted)) if typing.get_origin(wanted) is typing.Literal else ()
    return did_you_mean(value, words, before="; ")


def _check_names(field: attrs.Attribute[Any], value: Any) -> None:
    """Raise ConfigError for a name in a list that is none of those that its items may be, with the nearest."""
    known = constraints(field.validator).get("items", {}).get("enum", ())
    for each in value if isinstance(value, tuple) and known else ():
        hint = did_you_mean(each, known) if isinstance(each, str) and each not in known else ""
        if hint:
            raise ConfigError(f"must be some of {', '.join(known)}, not {each!r}; {hint}")


def is_mapping(wanted: Any) -> bool:
    """Whether a value of this type is a table of values by names that are the user's."""
    return (typing.get_origin(wanted) or wanted) in (Mapping, dict)


def without_none(wanted: Any) -> tuple[Any, bool]:
    """A type without its None, and whether it had one."""
    if typing.get_origin(wanted) in (types.UnionType, typing.Union):
        rest = [each for each in typing.get_args(wanted) if each is not type(None)]
        if len(rest) == 1:
            return rest[0], True
    return wanted, False
