"""Pickling: guarded functions, handles, registries and pipelines that are sent to another process.

pickle sends a function of a module by its name, and there is nothing to do. cloudpickle,
which joblib, loky, Ray, Dask and Spark use, and dill send a function of ``__main__`` or of
a notebook *by value*: its code, its attributes, and all that its closure holds. A compiled
wrapper's closure holds machines with locks and calls under way, which cannot be sent and
should not be: a copy begins anew, with the same settings.

So a wrapper is sent as what it was made from. Its Guard, one of its attributes, is pickled
as the function and its Declaration; the other side guards the function again, and lets the *shell*
that the pickler made of the wrapper (its code, with a closure that means nothing) hand
every call on to the new wrapper. Whatever else a closure holds of ours is LEFT behind.

Copies of one command share a command on the other side, by its key, as functions with one
key do; so the breaker of a worker that is sent a hundred jobs learns from all of them. If
there is another command of that key, with other settings, the copy has a registry of its own.

All of it is registered with copyreg, here, so that no machine need know of it.
"""

from __future__ import annotations

import copyreg
import functools
import re
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import Enum
from typing import Any, Final

import attrs

from .commands.command import Command, internals_of
from .commands.keyed_commands import KeyedCommands, keyspace_of
from .commands.shell import link
from .core.batch import Collapse
from .core.failover import target_key
from .decorate.block import Block, BlockCall, BlockPlace
from .decorate.collapse import BATCHED, Batched, collapse
from .decorate.commands import Pipeline
from .decorate.declaration import Declaration
from .decorate.decoration import guard
from .decorate.wrapper_stack import Guard
from .drivers.retry_layers import layer
from .engine.callables import GUARD, GuardedCallable
from .errors import ConfigError
from .policies.order import KITS, kit_of
from .policies.settings import Settings, live_settings
from .registry import Registry, default_registry, registries, table_of

#: The picklers that send functions by value, of whatever package: joblib.externals.cloudpickle, ray.cloudpickle, ...
_BY_VALUE: Final = re.compile(r"\bcloudpickle\b|\bdill\b")
_REGISTERED: Final = "list_registry_pickle_by_value"

_homes: weakref.WeakKeyDictionary[Command, Registry] = weakref.WeakKeyDictionary()


class Left:
    """Stands for what a copy has no use for, and for each of its methods: some picklers ask for these by name."""

    __slots__ = ("__weakref__",)

    def __repr__(self) -> str:
        return "<left behind: a copy has its own>"

    def __getattr__(self, name: str) -> Left:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __next__(self) -> Left:
        return self


LEFT: Final = Left()


class CopiedGuard(Guard):
    """The Guard of a shell, which keeps its wrapper."""

    made: Callable[..., Any]


class CopiedBatched(Batched):
    """The Batched of a shell, which keeps its wrapper."""

    made: Callable[..., Any]


# -- the other side


def _registry(clock: Callable[[], float], random: Callable[[], float]) -> Registry:
    return Registry(clock=clock, random=random)


def _left() -> Left:
    return LEFT


def _default_registry() -> Registry:
    return default_registry


def _command(registry: Registry, key: str, group: str, templates: tuple[str, ...], declared: Settings,
             settings: Settings, stated: frozenset[str]) -> Command:
    """The command of this key, if it was declared so; else one of the same settings."""
    stated = frozenset(name for name in stated if hasattr(declared, name))  # not policies of the sender's own
    with table_of(registry).lock:
        known = registry.get(key)
        if known is not None and (known.group, *_said(known)) == (group, declared, stated):
            return known
        home = registry if known is None and _may_have(registry, group, declared) else _fresh(registry)
        table = table_of(home)
        command = table.command(key, group, templates)
        pool = functools.partial(table.pool, group, declared.pool, key)
        internals_of(command).adopt(declared, stated, pool if declared.isolation == "thread" else None)
        table.add(command)
    _homes[command] = home
    table.announce(command)
    changes = {name: getattr(settings, name) for name in live_settings()
               if getattr(settings, name) != getattr(declared, name)}
    if changes:
        command.configure(**changes)
    return command


def _said(command: Command) -> tuple[Settings, frozenset[str]]:
    """What the functions of a command say, and of which settings."""
    internals = internals_of(command)
    return internals.declared, internals.stated


def _may_have(registry: Registry, group: str, declared: Settings) -> bool:
    """Whether the threads of the group are such as the command says."""
    if declared.isolation != "thread":
        return True
    try:
        table_of(registry).check_pool(group, declared.pool)
    except ConfigError:
        return False
    return True


def _fresh(registry: Registry) -> Registry:
    return _registry(registry.clock, table_of(registry).services.random)


def _guard(shell: Any, fn: Callable[..., Any], declaration: Declaration, command: Command | None,
           registry: Registry) -> Guard:
    """Guard *fn* as *declaration* says, and let *shell* be its wrapper."""
    found = shell.__dict__.get(GUARD)
    if isinstance(found, Guard) and found.wrapper() is shell:
        return found  # it was sent by its name
    wrapper = _guarded(fn, declaration, command, registry)
    link(shell, wrapper)
    if command is None:
        keyspace_of(wrapper.resilience).wrapper = weakref.ref(shell)
    former: Guard = getattr(wrapper, GUARD)
    own = CopiedGuard(*former._replace(wrapper=weakref.ref(shell), declaration=declaration))
    own.made = wrapper
    return own


def _guarded(fn: Callable[..., Any], declaration: Declaration, command: Command | None, registry: Registry) -> Any:
    if command is None:
        home = _fresh(registry) if _is_unique(declaration) else registry
        try:
            return guard(fn, attrs.evolve(declaration, registry=home), "a copy")
        except ConfigError:  # a function here says otherwise about the command of one of its targets
            return guard(fn, attrs.evolve(declaration, registry=_fresh(registry)), "a copy")
    return guard(fn, _of_command(declaration, command, registry), "a copy")


def _block(place: BlockPlace, declaration: Declaration, command: Command, registry: Registry) -> Block:
    return Block(_of_command(declaration, command, registry), place)


def _of_command(declaration: Declaration, command: Command, registry: Registry) -> Declaration:
    """*declaration* for a copy, which joins the *command*."""
    return attrs.evolve(declaration, key=command.key, group=command.group, registry=_homes.get(command, registry))


def _is_unique(declaration: Declaration) -> bool:
    """Whether no other copy says the same: what has a function in it that is sent by value equals nothing."""
    return any(isinstance(value, types.FunctionType)
               for policy in declaration.policies if kit_of(policy).setting
               for value in attrs.asdict(policy, recurse=False).values())


def _value(kind: Any, fields: dict[str, Any]) -> Any:
    value = kind.__new__(kind)
    for name, each in fields.items():
        object.__setattr__(value, name, each)
    return value


def _handles(own: Guard) -> Any:
    wrapper: Any = own.made if isinstance(own, CopiedGuard) else own.wrapper()
    return wrapper.resilience


def _batched(shell: Any, fn: Callable[..., Any], config: Any) -> Batched:
    """Collapse the calls of *fn*, and let *shell* be what is called."""
    found = shell.__dict__.get(BATCHED)
    if isinstance(found, Batched) and found.single() is shell:
        return found
    single: Any = collapse(**attrs.asdict(config, recurse=False))(fn)
    link(shell, single)
    own = CopiedBatched(weakref.ref(shell), fn, config)
    own.made = single
    return own


def _pipeline(declaration: Declaration) -> Pipeline:
    names = ("key", "group", "registry", "isolation", "pool", "ignore", "max_keys", "idle", "shadow")
    return Pipeline(*declaration.policies, **{name: getattr(declaration, name) for name in names})


# -- this side


def _parts(own: Guard) -> tuple[Any, ...]:
    has_several = callable(own.declaration.key) or own.declaration.named("failover") is not None
    if not has_several:
        return own.fn, own.declaration, own.command, own.registry
    key = _derived_key(own) if own.declaration.key is None else own.declaration.key
    return own.fn, attrs.evolve(own.declaration, key=key), None, own.registry


def _derived_key(own: Guard) -> str:
    """What a failover that nobody named is called: its copies share commands, two closures of a factory do not."""
    keyspace = keyspace_of(_handles(own))
    name, (target, key) = keyspace.template.key, next(iter(keyspace.names.items()))
    return name + key.removeprefix(target_key(name, target))


def _reduce_guard(own: Guard) -> tuple[Any, ...]:
    wrapper = own.wrapper()
    if wrapper is None or own.declaration.target is not None:  # who guards the whole function makes its targets
        return _left, ()
    return _guard, (wrapper, *_parts(own))


def _reduce_callable(proxy: Any) -> str | tuple[Any, ...]:
    """By value; what functools.lru_cache makes goes by its name only, which may be that of the guarded one now."""
    try:
        name = proxy.__wrapped__.__reduce_ex__(2)
    except Exception:  # noqa: BLE001 - whatever an object raises that cannot be sent
        name = None
    if isinstance(name, str) and _named(sys.modules.get(proxy.__module__), name) is proxy:
        return name
    return _guarded, _parts(getattr(proxy._self_guarded, GUARD))


def _reduce_block(block: Block) -> tuple[Any, ...]:
    return _block, (block._place, *_parts(getattr(block, GUARD))[1:])


def _reduce_command(command: Command) -> tuple[Any, ...]:
    internals = internals_of(command)
    for function in internals.functions:
        if _by_name(function):
            return getattr, (function, "resilience")
    services = internals.services
    registry = next((each for each in registries() if table_of(each).services is services), None)
    if registry is None:  # a copy's own registry may be gone
        registry = _registry(services.clock, services.random)
    return _command, (registry, command.key, command.group, internals.templates, internals.declared, command.settings,
                      internals.stated)


def _reduce_handles(handles: KeyedCommands) -> tuple[Any, ...]:
    wrapper: Any = keyspace_of(handles).wrapper()
    if wrapper is None:
        raise TypeError(f"{handles!r} cannot be pickled or copied: their function is gone, which a copy is made of")
    if isinstance(wrapper, GuardedCallable) or _by_name(wrapper):
        return getattr, (wrapper, "resilience")
    return _handles, (getattr(wrapper, GUARD),)


def _by_name(fn: Callable[..., Any]) -> bool:
    """Whether a pickler sends *fn* by name: it is found in its module, which nobody wants to be sent by value."""
    for name, module in tuple(sys.modules.items()):
        if _BY_VALUE.search(name) and any(
                f"{fn.__module__}.".startswith(f"{each}.") for each in getattr(module, _REGISTERED, set)()):
            return False
    return fn.__module__ != "__main__" and _named(sys.modules.get(fn.__module__), fn.__qualname__) is fn


def _named(found: Any, qualname: str) -> Any:
    """What *qualname* stands for in the module *found*; None: nothing."""
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def _reduce_batched(own: Batched) -> tuple[Any, ...]:
    single = own.single()
    return (_left, ()) if single is None else (_batched, (single, own.fn, own.config))


def _reduce_registry(registry: Registry) -> tuple[Any, ...]:
    if registry is default_registry:
        return _default_registry, ()
    return _registry, (registry.clock, table_of(registry).services.random)


def _reduce_value(value: Any) -> tuple[Any, ...]:
    """Made at once, not filled later: dill sends a function with all of its module, in which anything may be first."""
    return _value, (type(value), {field.name: getattr(value, field.name) for field in attrs.fields(type(value))})


def _reduce_pipeline(pipeline: Pipeline) -> tuple[Any, ...]:
    return _pipeline, (pipeline._plan,)


def _reduce_part(part: object) -> tuple[Any, ...]:
    """A part of a closure is left behind by who sends closures; anybody else may not have it."""
    frame = sys._getframe()
    while frame is not None:
        if _BY_VALUE.search(frame.f_globals.get("__name__", "")):
            return _left, ()
        frame = frame.f_back  # type: ignore[assignment]
    raise TypeError(f"{type(part).__name__} belongs to one process and cannot be pickled or copied; a guarded function "
                    "and its handle can")


_REDUCTIONS: Final[dict[type[Any], Callable[[Any], Any]]] = {
    Batched: _reduce_batched, Block: _reduce_block, CopiedBatched: _reduce_batched, Command: _reduce_command,
    Guard: _reduce_guard, CopiedGuard: _reduce_guard, GuardedCallable: _reduce_callable,
    KeyedCommands: _reduce_handles, Pipeline: _reduce_pipeline, Registry: _reduce_registry,
}
#: Where the classes are defined whose objects stand in closures.
_ENGINE: Final = tuple(f"{__package__}.{name}" for name in (
    "core.", "drivers.", "metrics.", "engine.", "policies.", "commands.", "decorate.collapse"))


def _engine_classes() -> Iterator[type[Any]]:
    """The engine's classes, but for values, which are attrs classes, tuples, texts, enumerations and errors."""
    for name, module in tuple(sys.modules.items()):
        if name.startswith(_ENGINE):
            for each in tuple(vars(module).values()):
                if isinstance(each, type) and each.__module__ == name and not attrs.has(each) \
                        and not issubclass(each, (BaseException, Enum, str, tuple)):
                    yield each


def _reduce_variable(variable: ContextVar[Any]) -> tuple[Any, ...]:
    if variable is not layer:
        raise TypeError("cannot pickle '_contextvars.ContextVar' object")
    return _reduce_part(variable)


for _kind in (Declaration, Settings, Collapse, *(kit.policy for kit in KITS)):
    copyreg.pickle(_kind, _reduce_value)
for _kind in (BlockCall, Left, *_engine_classes()):
    copyreg.pickle(_kind, _reduce_part)
copyreg.pickle(ContextVar, _reduce_variable)
for _kind, _reduction in _REDUCTIONS.items():
    copyreg.pickle(_kind, _reduction)
