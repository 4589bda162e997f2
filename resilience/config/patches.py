"""Patches: putting policies around callables that a file names, and taking them off again.

An entry of ``[guards]`` is what ``@command`` would say. What can be changed on a
live command (timeout, breaker, ...) is a layer of the configuration; the rest (key,
group, isolation, fallback, and which policies are off) is the guard's structure,
and a change of it makes the guard anew.

A patch goes through prepare(), which makes the wrapper and its command, commit(),
which puts it in place, and undo(). Undoing puts back the very object that stood
there, or, for what was inherited, nothing. A patch may be committed by a thread
that imports the module while another takes the entry out of the file: whoever
takes the one token of ``_ready`` commits, whoever takes that of ``_done`` undoes.
"""

from __future__ import annotations

import functools
import inspect
import pkgutil
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Final

import attrs
import wrapt

from ..commands.command import Command, internals_of
from ..commands.keyed_commands import KeyedCommands, keyspace_of
from ..core.failover import target_key
from ..core.fallback import Fallback
from ..core.thread_pool import ThreadPool
from ..decorate.declaration import Declaration
from ..decorate.decoration import guard
from ..engine.callables import GUARD, wrapped_by
from ..engine.kit import Kit
from ..policies.order import setting_kits
from ..registry import Registry
from .commands import Layer, guard_settings, policy_of, settings
from .mistakes import Place
from .targets import Found, TargetError, find, is_imported, named, parts
from .well_known import RECURSIVE, REPEATABLE

#: Wrappers that are in place no more; somebody may hold one all the same.
_undone: weakref.WeakSet[Any] = weakref.WeakSet()
#: The recursive targets whose guards the current call has passed.
_passed: ContextVar[frozenset[str]] = ContextVar("resilience_passed_guards", default=frozenset())
_STRUCTURE: Final = ("key", "group", "isolation", "pool", "ignore", "fallback", "raise_as")


def with_pools(guards: Mapping[str, GuardEntry]) -> dict[str, GuardEntry]:
    """The entries, each with its group's pool; those that say one come first, since they decide."""
    ordered = sorted(guards.items(), key=lambda each: each[1].said("pool") is None)
    pools: dict[str, ThreadPool] = {}
    for _, entry in ordered:
        if entry.said("pool") is not None:
            pools.setdefault(entry.group, entry.said("pool"))
    return {target: attrs.evolve(entry, group_pool=pools.get(entry.group)) for target, entry in ordered}


@attrs.frozen(kw_only=True)
class GuardEntry:
    """One entry of ``[guards]``.

    Attributes:
        target: The callable, as "module:name".
        place: Where it stands.
        layer: What it says.
        group_pool: The threads of its group, whichever entry says so; None: in their default number.
    """

    target: str
    place: Place
    layer: Layer
    group_pool: ThreadPool | None = None

    @property
    def key(self) -> str:
        """The command's key."""
        return self.said("key") or self.target

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all its commands: with a failover, there is one for each target."""
        targets = self.layer["failover.targets"].value if "failover.targets" in self.layer else ()
        return (self.key, *(target_key(self.key, target) for target in targets))

    @property
    def group(self) -> str:
        """The command's group."""
        return self.said("group") or parts(self.target)[0]

    def said(self, name: str) -> Any:
        """What the entry says of *name*, or its default."""
        said = self.layer.get(name)
        field = guard_settings()[name].field
        return said.value if said is not None else None if field is None else field.default

    @property
    def off(self) -> frozenset[str]:
        """The settings that it turns off."""
        return frozenset(name for name in settings() if name in self.layer and self.layer[name].value is None)

    @property
    def structure(self) -> tuple[Any, ...]:
        """What cannot be changed on a live command."""
        return (*(self.said(name) for name in _STRUCTURE), self.group_pool, self.off,
                *(self._has(kit.name) for kit in setting_kits() if kit.usual is None),
                *(self.layer.get(f"{kit.name}.{field}", (None,))[0] for kit in setting_kits() for field in kit.kept),
                {f"{kit.name}.{field}": value if kit.usual is not None and isinstance(value, str) else True
                 for kit in setting_kits() for field, value in self._compiled_in(kit).items() if value})

    def may_become(self, other: GuardEntry) -> bool:
        """Whether the guard that this entry made can be what the *other* says, while calls go on.

        A plain function that is guarded without a timeout moves to worker threads with one, and back; one that is
        guarded with a timeout is there for good.
        """
        return self.structure == other.structure and self._has("timeout") <= other._has("timeout")

    def declaration(self, registry: Registry) -> Declaration:
        """The decorator that the entry stands for; live settings have the library's defaults, layers say the rest.

        Raises:
            TargetError: A function or an exception that it names does not exist.
            ConfigError: It contradicts itself.
        """
        fallback, raise_as = self.said("fallback"), self.said("raise_as")
        ignored = tuple(map(named, self.said("ignore")))
        made = [] if fallback is None else [Fallback(named(fallback))]
        replaced = {name for kit in setting_kits() if self._has(kit.name) for name in kit.instead_of}
        made += [policy for kit in setting_kits() if kit.name not in replaced
                 and (policy := self._policy(kit)) is not None]
        usual = frozenset(kit.name for kit in setting_kits() if kit.usual is not None and not self._has(kit.name))
        return Declaration(policies=tuple(made), key=self.key, group=self.group, registry=registry, ignore=ignored,
                    isolation=self.said("isolation"), pool=self.said("pool"), whole=True, usual=usual,
                    raise_as=None if raise_as is None else named(raise_as))

    def _policy(self, kit: Kit) -> Any:
        """The policy of this *kit*: off, as the file says, or as usual. A live one has the library's defaults yet."""
        if kit.name in self.off:
            return kit.absent
        if kit.usual is not None:
            return attrs.evolve(kit.usual, **self._compiled_in(kit))
        return policy_of(kit, self.layer) if self._has(kit.name) else None

    def _compiled_in(self, kit: Kit) -> dict[str, Any]:
        """What the entry itself says of fields that a function must be declared with."""
        said = {field: self.layer.get(f"{kit.name}.{field}") for field in kit.compiled_in}
        return {field: each.value for field, each in said.items() if each is not None}

    def _has(self, name: str) -> bool:
        return name in self.layer and name not in self.off


class Patch:
    """One guard on its way into a module, there, or on its way out.

    Attributes:
        entry: What the file says; another one of the same structure may take its place.
        commands: The command, once prepared; with a failover, those of its targets and what stands above them.
    """

    def __init__(self, entry: GuardEntry, registry: Registry) -> None:
        self.entry, self._registry = entry, registry
        self.commands: tuple[Command, ...] = ()
        self._functions: tuple[Any, ...] = ()  # what the commands know of the wrapper
        self.wanted = True
        self._found: Found | None = None
        self._was_own = self._is_first = self._is_ours = False
        self._wrapper: Any = None
        self._ready: list[None] = []
        self._done: list[None] = []

    @property
    def is_in_place(self) -> bool:
        """Whether the wrapper was put in place, and not taken off again."""
        return bool(self._done)

    @property
    def is_in_force(self) -> bool:
        """Whether calls of the target meet the wrapper now: a reload of the module makes the target anew."""
        return bool(self._done) and self._stands()

    def _stands(self) -> bool:
        try:
            standing = find(self.entry.target).raw
        except TargetError:
            return False
        ours = _compiled(self._wrapper)
        while standing is not None and _compiled(standing) is not ours:
            standing = wrapped_by(standing)
        return standing is not None

    def is_at(self, target: str) -> bool:
        """Whether it takes the place that *target* is at, perhaps by another name."""
        return self._found is not None and is_imported(target) and self._found[:2] == find(target)[:2]

    @property
    def is_alone(self) -> bool:
        """Whether the commands were made for this guard, so that nobody uses them before the guard is in place."""
        return self._is_first

    def prepare(self, others: Iterable[Patch], going: Iterable[Patch] = ()) -> None:
        """Find the target, and make its wrapper and its commands; nothing is replaced yet.

        Args:
            others: Guards that stay, or will be there too.
            going: Guards that will be taken off before this one is put in place.

        Raises:
            TargetError: The target cannot be guarded.
            ConfigError: The entry contradicts itself, the target or another function of the same key.
        """
        found, others, going = find(self.entry.target), list(others), list(going)
        own = _own(found)
        for other in others:
            if other._found is not None and other._found[:2] == found[:2] and (
                    other.wanted and other.entry.target != self.entry.target):
                raise TargetError(f"is guarded already, by the entry {other.entry.target!r}")
        raw = next((other._found.raw for other in (*others, *going)
                    if other._found is not None and found.raw is other._wrapper), found.raw)
        if hasattr(getattr(raw, "__func__", raw), GUARD):
            raise TargetError(f"is guarded already, by a decorator, as {raw.resilience.key!r}"
                              if hasattr(raw, "resilience") else "is guarded already, by a decorator")
        known = [command for key in self.entry.keys if (command := self._registry.get(key)) is not None]
        try:
            wrapper = guard(_repeatable(raw, self.entry.target), self.entry.declaration(self._registry), "[guards]")
        except TypeError as error:
            raise TargetError(str(error)) from None
        if self.entry.target in RECURSIVE:
            wrapper = _once(wrapper, raw, self.entry.target)
        self._found, self._was_own = Found(found.parent, found.attribute, raw), found.attribute in own
        self._wrapper, self._is_first = wrapper, not known
        self._is_ours = all(any(each in other.commands and other._is_ours for other in (*others, *going))
                            for each in known)
        handle, function = _compiled(wrapper).resilience, _compiled(wrapper)
        parts = keyspace_of(handle).parts() if isinstance(handle, KeyedCommands) else [(handle, function)]
        self.commands, self._functions = zip(*parts, strict=True)
        self._ready.append(None)

    def commit(self) -> None:
        """Put the wrapper in place.

        Raises:
            TargetError: The target does not let itself be replaced.
        """
        if not _taken(self._ready) or self._found is None:
            return
        try:
            wrapt.apply_patch(self._found.parent, self._found.attribute, self._wrapper)
        except (AttributeError, TypeError) as error:
            raise TargetError(f"cannot be replaced: {error}") from None
        self._done.append(None)
        if not self.wanted:
            self.undo()

    def undo(self) -> str | None:
        """Put back what stood there; says why if it cannot be.

        The commands leave their registry if nothing else uses them.
        """
        self.wanted = False
        _taken(self._ready)
        complaint = self._restore() if _taken(self._done) else None
        self._dismiss()
        return complaint

    def abandon(self) -> None:
        """Undo the patch in a forked child, where the thread that ran commit() or undo() does not exist."""
        self.undo()
        if self._found is not None and _own(self._found).get(self._found.attribute) is self._wrapper:
            self._restore()

    def _dismiss(self) -> None:
        """Take the commands out of their registry if nothing else uses them."""
        _undone.update(self._functions)
        if self.alone_has_its_commands([]):
            for command in self.commands:
                self._registry.remove(command.key)
        handle = getattr(_compiled(self._wrapper), "resilience", None)
        if isinstance(handle, KeyedCommands):
            handle.clear()

    def alone_has_its_commands(self, going: Iterable[Patch]) -> bool:
        """Whether nobody will use the commands when the *going* guards and this one are taken off."""
        off = {id(function) for each in going for function in each._functions}
        return bool(self.commands) and self._is_ours and all(
            self._registry.get(command.key) is command and all(
                each in _undone or id(each) in off for each in internals_of(command).functions)
            for command in self.commands)

    def _restore(self) -> str | None:
        assert self._found is not None  # it is done
        parent, attribute, raw = self._found
        if _own(self._found).get(attribute) is not self._wrapper:
            return (f"{self.entry.target} was replaced since, by a reload of its module or by somebody on top of the "
                    "guard, which stays until the process ends, with all of its policies off")
        if self._was_own:
            setattr(parent, attribute, raw)
        else:
            delattr(parent, attribute)
        return None


def _compiled(wrapper: Any) -> Any:
    """What runs the calls; a bound method has a ``__func__`` too, which is none of ours."""
    function = wrapper.__func__ if isinstance(wrapper, (classmethod, staticmethod)) else wrapper
    return getattr(function, "_self_guarded", function)


def _repeatable(raw: Callable[..., Any], target: str) -> Any:
    """What may be called again with the same arguments, in the place of a function that uses them up."""
    makes = REPEATABLE.get(target)
    return raw if makes is None else pkgutil.resolve_name(makes)(raw)


def _once(wrapper: Any, raw: Callable[..., Any], target: str) -> Any:
    """What stands in the place of a function that calls itself: such a call is a part of the one that is guarded."""

    @functools.wraps(wrapper)
    def once(*args: Any, **kwargs: Any) -> Any:
        passed = _passed.get()
        if target in passed:
            return raw(*args, **kwargs)
        token = _passed.set(passed | {target})
        try:
            return wrapper(*args, **kwargs)
        finally:
            _passed.reset(token)

    found: Any = once
    found._self_guarded = wrapper
    return found


def _own(found: Found) -> dict[str, Any]:
    try:
        return dict(inspect.getattr_static(found.parent, "__dict__", None) and vars(found.parent))
    except TypeError:
        raise TargetError("cannot be replaced there") from None


def _taken(tokens: list[None]) -> bool:
    """Whether this caller took the one token; atomic."""
    try:
        tokens.pop()
    except IndexError:
        return False
    return True
