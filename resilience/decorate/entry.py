"""Entry: a function's place in a registry, and its wrapper.

enter() checks everything that a declaration says before it changes the command, or makes one; wrap() compiles what
callers call. Whoever calls both holds the lock of the table between them, or is the only one who knows of the command.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from ..commands.command import Command, internals_of
from ..commands.command_table import CommandTable
from ..core.vendor_errors import as_vendor_error
from ..drivers.workers import WorkerPool
from ..engine.call_accounting import CallAccounting
from ..engine.callables import GUARD, USUAL_GROUP, name_of, said, wrap_like
from ..engine.command_runtime import CommandRuntime
from ..engine.compiler import bind, compiled
from ..engine.error_translation import translated
from ..engine.fallback_runner import fallback_runner
from ..engine.kit import Afterwards
from ..engine.site import Site
from ..engine.wrapper_spec import Flavour
from ..registry import Registry, default_registry, table_of
from .agreement import agree
from .declaration import Declaration
from .failover_parts import called_at
from .redefinition import is_redefinition
from .running import Running, running_of
from .wrapper_stack import Guard, check_apart, is_above, key_beneath


class Entry(NamedTuple):
    """A function's place in a registry."""

    registry: Registry
    command: Command
    is_new: bool
    afterwards: list[Afterwards]
    news: tuple[str, ...]
    running: Running
    accounting: CallAccounting
    fall_back: Callable[..., Any] | None


def enter(fn: Callable[..., Any], declaration: Declaration, below: Guard | None,
          running: Running | None = None) -> Entry:
    """Check everything, then change the command, or make it; how it is *running* was found for another key."""
    module, qualname = name_of(fn)
    assert not callable(declaration.key)
    name, group = f"{module}.{qualname}", declaration.group or said(fn, USUAL_GROUP, str) or module
    is_derived = declaration.key is None or declaration.is_derived
    if declaration.is_derived and declaration.key is not None:
        name = declaration.key
    key = declaration.key or (name if below is None or below.declaration.key is not None else below.command.key)
    running = running_of(fn, declaration, key) if running is None else running
    flavour, settings, stated = running.flavour, running.settings, running.stated
    registry = default_registry if declaration.registry is None else declaration.registry
    table = table_of(registry)
    fallback = declaration.named("fallback")
    with table.lock:
        known, key, redefined = _known(fn, declaration, below, table, key, name)
        command = known if known is not None else table.command(
            key, group, (*declaration.templates, *((name,) if is_derived and key != name else ())),
            name if is_derived else None)
        try:
            agree(command, declaration, group, settings, stated, redefined)
            check_apart(fn, declaration, key, lambda found: found.command is command)
            internals = internals_of(command)
            accounting = internals.accounting(fallback=fallback, ignore=declaration.ignore,
                                              is_block=flavour.is_block)
            account = accounting.fallback
            fall_back = None if account is None else fallback_runner(fallback, account, flavour, fn)
            pool: Callable[[], WorkerPool] | None = None
            if flavour is Flavour.THREAD or running.may_move:
                table.check_pool(command.group, declaration.pool, key)
                pool = functools.partial(table.pool, command.group, declaration.pool, key)
            if flavour is not Flavour.THREAD and pool is not None:
                internals.runtime.reserve, pool = pool, None
            afterwards, news = internals.adopt(settings, stated, pool)
        except BaseException:
            if known is None:
                table.forgo(command)
            raise
        if known is None and not table.add(command):  # a signal handler or a finalizer was here too
            return enter(fn, declaration, below, running)
    return Entry(registry, command, known is None, afterwards, news, running, accounting, fall_back)


def _known(fn: Callable[..., Any], declaration: Declaration, below: Guard | None, table: CommandTable, key: str,
           name: str) -> tuple[Command | None, str, bool]:
    """The command that *fn* is to share, if there is one; the key; and whether *fn* takes an older self's place.

    The *key* is the one that was said, or else follows from the *name* of the function.
    """
    if declaration.key is None and below is None:
        key = key_beneath(fn, table, name)
    known = table.commands.get(key)
    if known is None and declaration.key is None and key != name:  # the lower one's was removed
        key, known = name, table.commands.get(name)
    redefined = known is not None and is_redefinition(known, fn, declaration, below)
    is_derived = declaration.key is None or declaration.is_derived
    if known is not None and is_derived and not redefined and not is_above(fn, known):
        return None, table.derive_key(name), False  # nobody said that the two are to share a command
    return known, key, redefined


def wrap(fn: Callable[..., Any], declaration: Declaration, entry: Entry,
          apart: Callable[..., str] | None = None, prepare: Callable[[Site], object] | None = None) -> Any:
    """Compile the wrapper, and make it look like *fn*; to a cache, what *apart* says of a call is one more argument."""
    command = entry.command
    site = _site(fn, declaration, entry, apart)
    if prepare is not None:
        prepare(site)
    if entry.running.may_move:
        guarded = compiled(site, lambda here: _movable(
            here, functools.partial(_compile_moved, fn, declaration, entry, apart, site.fall_back, prepare),
            internals_of(command).runtime))
    else:
        guarded = compiled(site)
    vendor = declaration.raise_as
    if vendor is not None:
        guarded = translated(guarded, entry.running.flavour, lambda error: as_vendor_error(error, vendor))
    wrapper: Any = wrap_like(guarded, fn)
    guarded.resilience = command  # after wrap_like(), which may have copied another's
    setattr(guarded, GUARD, Guard(weakref.ref(wrapper), fn, declaration, command, entry.registry, entry.accounting))
    with table_of(entry.registry).lock:
        internals_of(command).guards(guarded, entry.running.cannot)
    return wrapper


def rehearse(fn: Callable[..., Any], declaration: Declaration, entry: Entry) -> None:
    """Let the machines of a command that is only rehearsed know what *fn* is compiled for elsewhere."""
    bind(_site(fn, declaration, entry, None))


def _site(fn: Callable[..., Any], declaration: Declaration, entry: Entry,
          apart: Callable[..., str] | None) -> Site:
    return Site(fn=fn, flavour=entry.running.flavour, chain=declaration.chain(),
                runtime=internals_of(entry.command).runtime, accounting=entry.accounting, fall_back=entry.fall_back,
                apart=apart, called=called_at(fn, declaration))


def _movable(here: Any, compile_there: Callable[[], Any], runtime: CommandRuntime) -> Any:
    """A wrapper that runs in its caller's thread until a file or the command's handle says a timeout."""
    there: list[Any] = []

    def guarded(*args: Any, **kwargs: Any) -> Any:
        if runtime.is_moved:
            if not there:
                there.append(compile_there())  # whoever else does so as well: one is as good as the other
            return there[0](*args, **kwargs)
        return here(*args, **kwargs)

    return guarded


def _compile_moved(fn: Callable[..., Any], declaration: Declaration, entry: Entry,
                   apart: Callable[..., str] | None, fall_back: Callable[..., Any] | None,
                   prepare: Callable[[Site], object] | None) -> Any:
    """The wrapper for worker threads, below the layers of the other: what a cache keeps is kept wherever calls run."""
    there = entry.running._replace(flavour=Flavour.THREAD)
    site = _site(fn, declaration, entry._replace(running=there, fall_back=fall_back), apart)
    if prepare is not None:
        prepare(site)
    site.is_beneath_layers = site.is_beneath_layers or site.has("cache")
    site.chain = {kit: policy for kit, policy in site.chain.items() if kit.name != "cache"}
    return compiled(site)


def bring_into_force(entry: Entry) -> None:
    """What the function says is in force; let the circuit and the configuration know, outside the lock."""
    internals_of(entry.command).finish(entry.afterwards)
    declared = table_of(entry.registry).declared
    if declared is not None:
        declared(entry.command, entry.news)


def forsake(below: Guard) -> None:
    """The command that a lower decorator of this stack made, before a higher one gave another key or registry."""
    if len(internals_of(below.command).functions) <= 1 and below.registry.get(below.command.key) is below.command:
        below.registry.remove(below.command.key)
