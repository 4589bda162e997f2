"""Handles: the helpers of this package take a command's handle, or the function that it guards."""

from __future__ import annotations

from typing import Any

from ..commands.command import Command
from ..commands.keyspace import KeyedCommands
from ..signatures import Guarded

Target = Command | Guarded[..., Any]


def handle_of(target: Target) -> Command:
    """The handle of *target*.

    Raises:
        TypeError: It is neither a handle nor a guarded function; or a keyed one, which has many.
    """
    handle = target if isinstance(target, (Command, KeyedCommands)) else getattr(target, "resilience", None)
    if isinstance(handle, KeyedCommands):
        raise TypeError(f"{handle.key!r} has a command for each key; give one of them, such as fn.resilience[key]")
    if not isinstance(handle, Command):
        raise TypeError(f"expected a guarded function or its handle, not {target!r}")
    return handle
