"""Structure: plain TOML values to attrs objects, by cattrs made strict.

Nothing is converted on the quiet: "5" is no number and 1 is no bool. Unknown keys
are errors. Each field's own validator is run where the field is read, so that one
pass finds the mistakes of all fields and not just the first. ``false`` turns an
optional setting off: TOML has no null.

cattrs is imported when the first value is read: it takes longer than all the rest
of the package, and most programs that import it read no file.
"""

from __future__ import annotations

import difflib
import functools
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from ..errors import ConfigError
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
            yield (*path, name), unknown(name, (field.name for field in attrs.fields(error.cl)))
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


def unknown(name: str, known: Iterable[str]) -> str:
    """What to say of a key that nothing has."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"unknown setting; did you mean {near[0]}?" if near else f"unknown setting; here are {', '.join(names)}"


@functools.cache
def _converter() -> cattrs.Converter:
    import cattrs

    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    for kind in _KINDS:
        converter.register_structure_hook(kind, _primitive)
    converter.register_structure_hook_factory(attrs.has, functools.partial(_class_hook, converter))
    return converter


def _primitive(value: Any, wanted: Any) -> Any:
    accepted, name = _KINDS[wanted]
    if not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool):
        raise ConfigError(f"must be {name}, not {shown(value)}")
    return float(value) if wanted is float and abs(value) < 2**53 else value


def _class_hook(converter: cattrs.Converter, wanted: type[Any]) -> Callable[[Any, Any], Any]:
    from cattrs.gen import make_dict_structure_fn, override

    attrs.resolve_types(wanted)
    hooks: dict[str, Any] = {
        field.name: override(struct_hook=_field_hook(converter, field)) for field in attrs.fields(wanted)
    }
    read = make_dict_structure_fn(
        wanted, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True, **hooks)

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ConfigError(f"must be a table, not {shown(value)}")
        return read(value, wanted)

    return structure


def _field_hook(converter: cattrs.Converter, field: attrs.Attribute[Any]) -> Callable[[Any, Any], Any]:
    wanted, optional = without_none(field.type)
    is_list = typing.get_origin(wanted) is tuple

    def structure(value: Any, _: Any) -> Any:
        if optional and value is False:
            return None
        if is_list and not isinstance(value, (list, tuple)):
            raise ConfigError(f"must be a list, not {shown(value)}")
        choices = typing.get_args(wanted) if typing.get_origin(wanted) is typing.Literal else ()
        if choices and (type(value), value) not in [(type(each), each) for each in choices]:
            raise ConfigError(f"must be one of {', '.join(map(str, choices))}, not {shown(value)}")
        result = converter.structure(value, wanted)
        if field.validator is not None:
            field.validator(None, field, result)
        return result

    return structure


def without_none(wanted: Any) -> tuple[Any, bool]:
    """A type without its None, and whether it had one."""
    if typing.get_origin(wanted) in (types.UnionType, typing.Union):
        rest = [each for each in typing.get_args(wanted) if each is not type(None)]
        if len(rest) == 1:
            return rest[0], True
    return wanted, False
