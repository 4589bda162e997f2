"""Identity of callables: when two of them are the same. What their own equality says decides nothing."""

from __future__ import annotations

import functools
import types
from types import MethodType
from typing import Any


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


def same_word(one: Any, other: Any) -> bool:
    """Whether two declarations say the same of one thing; a callable's own equality decides nothing."""
    return by_identity(one) == by_identity(other) if callable(one) or callable(other) else bool(one == other)
