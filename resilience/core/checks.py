"""Checks for configuration values: each names the key, the accepted range and what it got.

attrs' own validators raise ValueError or TypeError with attrs' words; a user of
a decorator is better served by one ConfigError that says how to put it right.
"""

from __future__ import annotations

import difflib
import functools
import sys
import types
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any, TypeVar

import attrs

from ..errors import ConfigError

_Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]
_Class = TypeVar("_Class", bound=type)


def number(*, above: float | None = None, least: float | None = None, most: float | None = None,
           whole: bool = False, optional: bool = False) -> _Validator:
    """A validator for a finite number in a range.

    Args:
        above: The value must be greater than this.
        least: The value must be at least this.
        most: The value must be at most this.
        whole: Integers only.
        optional: None is welcome too.
    """
    bounds = [f"above {above:.12g}" if above is not None else "", f"at least {least:.12g}" if least is not None else "",
              f"at most {most:.12g}" if most is not None else ""]
    kind = "a whole number" if whole else "a number"
    wanted = f"{kind} {' and '.join(filter(None, bounds))}".strip() + (" or None" if optional else "")

    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        if not (isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
                and abs(value) <= sys.float_info.max  # false for NaN too; an int may be too large for a float
                and (above is None or value > above) and (least is None or value >= least)
                and (most is None or value <= most)):
            raise ConfigError(f"{attribute.name} must be {wanted}, not {value!r}", attribute.name)

    return check


def as_tuple(value: Any) -> Any:
    """A converter: a list, as a file has it, is as good as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def rising_shares(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator for shares between 0 and 1, each larger than the one before."""
    numbers = isinstance(value, tuple) and all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in value)
    if not numbers or not value or list(value) != sorted(set(value)) or not 0 < value[0] <= value[-1] < 1:
        raise ConfigError(f"{attribute.name} must be rising numbers above 0 and below 1, such as (0.1, 0.25, 0.5), "
                          f"not {value!r}", attribute.name)


def flag(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator for a bool, and nothing that is merely truthy."""
    if not isinstance(value, bool):
        raise ConfigError(f"{attribute.name} must be True or False, not {value!r}", attribute.name)


def ordinary_exceptions(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator for a tuple of Exception classes; what ends a task or the process is none of a policy's business."""
    if not isinstance(value, tuple) or not all(isinstance(t, type) and issubclass(t, Exception) for t in value):
        raise ConfigError(f"{attribute.name} must be a tuple of Exception classes (cancellation and exit always pass "
                          f"through), not {value!r}", attribute.name)


def by_identity(value: Any) -> Any:
    """What two callables have in common if they are the same: a key to find one by, and for attrs to compare by.

    Their own equality decides nothing: callables that are equal may do different things. A method is another object
    each time it is asked for, so it is the same if its function and its object are; and a partial if its parts are.
    The key is good as long as *value* lives.
    """
    kind = type(value)
    if kind is MethodType:
        return id(value.__func__), id(value.__self__)
    if kind is types.FunctionType or value is None:
        return id(value)
    if kind is types.BuiltinFunctionType or kind is types.MethodWrapperType:
        return value  # their equality is that of their object's identity, and written in C
    if kind is functools.partial and not vars(value):
        return id(value.func), tuple(map(id, value.args)), tuple((name, id(each)) for name, each in
                                                                 value.keywords.items())
    return id(value)


def text(optional: bool = False) -> _Validator:
    """A validator for a non-empty string."""

    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{attribute.name} must be a non-empty string, not {value!r}", attribute.name)

    return check


def unknown_option(name: str, known: Iterable[str], where: str) -> ConfigError:
    """The error for a setting that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
    return ConfigError(f"{where} has no setting {name!r}; {hint}", name)


def strict(cls: _Class) -> _Class:
    """Make an attrs class answer an unknown keyword with a ConfigError instead of a TypeError."""
    plain: Callable[..., None] = vars(cls)["__init__"]
    known = [field.alias or field.name for field in attrs.fields(cls)]

    @functools.wraps(plain)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in kwargs:
            if name not in known:
                raise unknown_option(name, known, cls.__name__)
        plain(self, *args, **kwargs)

    type.__setattr__(cls, "__init__", init)
    return cls
