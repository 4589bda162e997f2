"""Wrapper stack: what a function that is decorated wraps already, and which of it is ours.

A guard may lie directly beneath a decorator of ours, or under decorators of somebody else's.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..commands.command import Command, internals_of
from ..commands.command_table import CommandTable
from ..engine.call_accounting import CallAccounting
from ..engine.callables import GUARD, layers, said, wrapped_by
from ..errors import ConfigError
from ..policies.order import kit_of
from ..registry import Registry
from .declaration import Declaration


class Guard(NamedTuple):
    """What a wrapper remembers, for a further decorator above it.

    ``wrapper`` tells it apart from a copy that functools.wraps made of it. It is
    weak, so that the lower wrappers of a stack go as soon as the stack is made.
    """

    wrapper: weakref.ref[Callable[..., Any]]
    fn: Callable[..., Any]
    declaration: Declaration
    command: Command
    registry: Registry
    accounting: CallAccounting


def guard_of(fn: Any) -> Guard | None:
    """The Guard of *fn* if it is one of our wrappers, and not somebody's wrapper around one."""
    found = said(fn, GUARD, Guard) or said(said(fn, "_self_guarded", object), GUARD, Guard)
    return found if found is not None and found.wrapper() is fn else None


def guards_in(fn: Callable[..., Any]) -> Iterator[Guard]:
    """The guards in the stack of *fn*, its own first, then those under other decorators."""
    for inner in layers(fn, _beneath):
        found = guard_of(inner)
        if found is not None:
            yield found


def is_above(fn: Callable[..., Any], command: Command) -> bool:
    """Whether *fn* is somebody's wrapper around a function of this *command*: a foreign decorator in a stack."""
    return any(found.command is command for found in guards_in(fn))


def key_beneath(fn: Callable[..., Any], table: CommandTable, name: str) -> str:
    """The derived key of the guard that *fn* wraps, if it has this *name* too: both are of one stack; else *name*."""
    return next((found.command.key for found in guards_in(fn)
                 if internals_of(found.command).derived_from == name
                 and table.commands.get(found.command.key) is found.command), name)


def check_apart(fn: Callable[..., Any], declaration: Declaration, key: str, same: Callable[[Guard], bool]) -> None:
    """Raise ConfigError if *fn* wraps, with somebody's decorator between, a guard that does the *same* for this key."""
    for found in filter(same, guards_in(fn)):
        for policy in declaration.policies:
            if kit_of(policy) in found.declaration.chain():
                raise ConfigError(
                    f"{key}: {type(policy).__name__} stands above and below another decorator, so that "
                    "each call would pass it twice; keep one of them, or give one a key of its own", "key")


def _beneath(fn: Any) -> Any:
    """What a wrapper, a partial or a bound method calls; None if that is all."""
    if isinstance(fn, functools.partial):
        return fn.func
    return fn.__func__ if isinstance(fn, types.MethodType) else wrapped_by(fn)
