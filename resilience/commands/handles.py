"""Handles: from a guarded function to what steers it.

``fn.resilience`` is the same, and a type checker knows of it where the function is no method; see signatures.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .command import Command
from .keyed_commands import KeyedCommands


def handle_of(fn: Command | Callable[..., Any]) -> Command:
    """The handle of a guarded function or method; a handle is its own.

    Args:
        fn: What is guarded: a function, a method of a class or of an instance, a callable object.

    Raises:
        TypeError: It is neither guarded nor a handle; or it is guarded by key, and has many: see handles_of().
    """
    handle = fn if isinstance(fn, (Command, KeyedCommands)) else getattr(fn, "resilience", None)
    if isinstance(handle, KeyedCommands):
        raise TypeError(f"{handle.key!r} has a command for each key; give one of them, such as fn.resilience[key]")
    if not isinstance(handle, Command):
        raise TypeError(f"expected a guarded function or its handle, not {fn!r}")
    return handle


def handles_of(fn: KeyedCommands | Callable[..., Any]) -> KeyedCommands:
    """The handles of a function or method whose ``key`` is a callable.

    Args:
        fn: What is guarded by key.

    Raises:
        TypeError: It is not guarded, or has one command: see handle_of().
    """
    handles = fn if isinstance(fn, KeyedCommands) else getattr(fn, "resilience", None)
    if isinstance(handles, Command):
        raise TypeError(f"{handles.key!r} is one command, whatever the arguments; handle_of() returns its handle")
    if not isinstance(handles, KeyedCommands):
        raise TypeError(f"expected a function that is guarded by key, not {fn!r}")
    return handles
