"""Decoration: from what a user says about a function to a command in a registry and a compiled wrapper.

Every decorator makes a Declaration (what is said about the function) and hands it to
guard(), which checks all of it before it changes anything: a decoration that
fails leaves no trace. A decorator over a function that is guarded already does
not wrap the wrapper: the two declarations are merged and the function is compiled anew,
so that a stack becomes one wrapper.
"""

from __future__ import annotations

from typing import Any

from ..commands.command import internals_of
from ..core.callable_identity import same_word
from ..engine.callables import GUARD, check_guardable
from ..errors import ConfigError
from ..policies.order import in_order
from ..registry import Registry, default_registry, table_of
from .declaration import Declaration
from .entry import Entry, bring_into_force, enter, forsake, wrap
from .inheritance import notice
from .running import running_of
from .several_commands import with_several
from .wrapper_stack import Guard, guard_of


def guard(fn: Any, declaration: Declaration, what: str, *, instead: bool = True) -> Any:
    """Guard *fn* as the *declaration* says.

    Args:
        fn: The function, method or callable object that is decorated.
        declaration: What the decorator says.
        what: Name of the decorator, for messages.
        instead: Whether the result takes the place of *fn*. If it does not, and *fn* is guarded under another key
            already, then *fn* keeps its own guard below this one.

    Raises:
        ConfigError: The declaration contradicts itself, the function, or another function with the same key.
        TypeError: *fn* is nothing that can be called.
    """
    check_guardable(fn, what)
    if isinstance(fn, (classmethod, staticmethod)):
        return type(fn)(guard(fn.__func__, declaration, what))
    below = guard_of(fn)
    if below is not None and not instead and declaration.key is not None and not (
            same_word(declaration.key, below.command.key) or same_word(declaration.key, below.declaration.key)):
        below = None
    if below is not None:
        declaration, fn = declaration.above(below.declaration, below.fn), below.fn
    in_order(declaration.policies)
    _check_keyed(declaration)
    if declaration.key is None:
        notice(fn, inherit)
    table = table_of(default_registry if declaration.registry is None else declaration.registry)
    table.sweep(keys=False)  # there may be many: a new one, or who reads them all, looks at them
    if callable(declaration.key) or declaration.named("failover") is not None:
        return with_several(fn, declaration, below)
    with table.lock:  # nobody is to meet a command without its function: it looks like one whose function is gone
        entry = enter(fn, declaration, below)
        try:
            wrapper = wrap(fn, declaration, entry)
        except BaseException:
            if entry.is_new:
                table.dismiss(entry.command, None)
            raise
    bring_into_force(entry)
    if below is not None and below.command is not entry.command:
        forsake(below)
    if entry.is_new:
        table.announce(entry.command)
    return wrapper


def inherit(fn: Any, declaration: Declaration) -> Any:
    """Guard *fn*, which a subclass inherits, as the *declaration* of its own class says."""
    return guard(fn, declaration, "@command")


def guard_alike(fn: Any, guarded: Any) -> Any:
    """Guard *fn* as what is *guarded* already, by the same command: a block has two flavours.

    Raises:
        ConfigError: A setting of the command cannot be in force for *fn*.
    """
    known: Guard = getattr(guarded, GUARD)
    internals = internals_of(known.command)
    with table_of(known.registry).lock:
        running = running_of(fn, known.declaration, known.command.key)
        for name, why in running.cannot.items():  # said by a file, or by the handle
            if getattr(internals.settings, name) not in (None, getattr(internals.declared, name)):
                raise ConfigError(f"{known.command.key}: {why}", name)
        return wrap(fn, known.declaration, Entry(known.registry, known.command, False, [], (), running,
                                                 known.accounting, None))


def _check_keyed(declaration: Declaration) -> None:
    for name in ("max_keys", "idle"):
        if getattr(declaration, name) is not None and not callable(declaration.key):
            raise ConfigError(f"{name} is for many commands of one function; give a key that is a callable, such as "
                              "key=lambda host, path: host", name)


def registry_of(fn: Any) -> Registry:
    """Where the command of *fn* is kept; the default registry if it is none of our wrappers."""
    found = guard_of(fn)
    return default_registry if found is None else found.registry
