"""Frozen clock: a registry that stands on a clock of the test's for the length of a block.

A registry's clock is bound into everything that reads it: a call reads it twice, and should not have to look it up
first. So it is exchanged where it is bound: in the closures of the compiled wrappers and of what stands around them,
and in the attributes of the machines and of what drives them. What is the user's own is not looked into.
"""

from __future__ import annotations

import contextlib
import types
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import wrapt

from ..commands.command import internals_of
from ..core.cache import CacheEntry
from ..core.context_managers import context_manager
from ..drivers.deadline_context import wrapper_globals
from ..registry import Registry, default_registry, table_of
from .clock import ManualClock
from .overrides import restored

_OURS: Final = __name__.partition(".")[0]
_PACKAGE: Final = str(Path(__file__).parents[1])
_Clock = Callable[[], float]


@context_manager
def frozen(registry: Registry = default_registry) -> Iterator[ManualClock]:
    """Let a registry's time stand still within the block, until the test moves it; yields the clock that does.

    Circuits, windows, limits, caches and the pauses of retries go by that clock; what passes the time of a call does
    not: a coroutine's timeout is its event loop's, and a thread's caller waits in real time. At the end the registry
    is back on its own clock, and is put back as restored() does; its commands have no past then. No call may be under
    way when the block begins or ends. The waits of ``collapse`` stay on the clock that they began with.

    Args:
        registry: Its commands, those declared within the block included.
    """
    with restored(registry):
        own = registry.clock
        clock = ManualClock(own())
        _exchange(registry, own, clock)
        try:
            yield clock
        finally:
            _exchange(registry, clock, own)
            for budget in table_of(registry).services.budgets.values():
                budget.renew(own())
            for command in registry:  # its clock would have stepped back, to what it learnt at times to come
                internals_of(command).renew()


def _exchange(registry: Registry, old: _Clock, new: _Clock) -> None:
    """Put the clock *new* in the place of the *old* one wherever something behind the *registry* holds it."""
    table = table_of(registry)
    with table.lock:
        seen: dict[int, Any] = {}
        weakly: list[Any] = [wrapper for command in table.commands.values()
                             for wrapper in internals_of(command).functions]
        for keyspace in table.living_keyspaces():
            weakly += keyspace, keyspace.wrapper()
        todo: list[Any] = [table, *weakly]
        while todo:
            each = todo.pop()
            if id(each) not in seen:
                seen[id(each)] = each
                todo += _within(each, old, new)


def _within(each: Any, old: _Clock, new: _Clock) -> Iterator[Any]:
    """Exchange the clock in *each*, and give what it holds; nothing of what is the user's."""
    if isinstance(each, (wrapt.ObjectProxy, CacheEntry)):
        return
    if isinstance(each, types.FunctionType):
        yield from _within_function(each, old, new)
    elif isinstance(each, types.MethodType):
        yield each.__self__
    elif isinstance(each, dict):
        yield from tuple(each.values())
    elif isinstance(each, (list, tuple, set, frozenset, deque)):
        yield from tuple(each)
    elif type(each).__module__.partition(".")[0] == _OURS:
        for name in _attributes(each):
            value = getattr(each, name, None)
            if value is old:
                object.__setattr__(each, name, new)
            yield value


def _within_function(function: types.FunctionType, old: _Clock, new: _Clock) -> Iterator[Any]:
    if function.__globals__ is wrapper_globals or function.__code__.co_filename.startswith(_PACKAGE):
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # it is empty
                if cell.cell_contents is old:
                    cell.cell_contents = new
                yield cell.cell_contents
        yield from vars(function).values()


def _attributes(each: Any) -> set[str]:
    """The names of what an object of ours keeps, in slots and in its dictionary."""
    names: set[str] = set(getattr(each, "__dict__", ()))
    for kind in type(each).__mro__:
        names.update(name for name, value in vars(kind).items() if isinstance(value, types.MemberDescriptorType))
    return names
