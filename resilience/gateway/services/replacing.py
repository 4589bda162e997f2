"""Commands that take the place of others of the same name, and lose nothing by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ...commands.command import internals_of
from ...registry import Registry, table_of

_T = TypeVar("_T")


def in_place(registry: Registry, key: str, make: Callable[[], _T]) -> _T:
    """What *make* makes, which declares the command of this *key*, whatever the registry's command says now.

    The command keeps its circuit, its statistics, and what its limits have booked: nothing is refilled.

    Raises:
        ConfigError: It cannot be made; the command is as it was.
    """
    known = registry.get(key)
    if known is None:
        return make()
    with table_of(registry).lock:
        restore = internals_of(known).retract()
        try:
            return make()
        except BaseException:
            restore()
            raise
