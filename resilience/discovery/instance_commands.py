"""Instance commands: functions whose calls are guarded for each instance of a directory by a command of its own.

Two ways, by the library's own means. ``each``: a command whose key is the instance that the caller has picked.
``failover``: a Failover whose targets are the instances. It is declared anew when they change, around the commands of
those that stay, which keep their circuits, statistics and what their limits have booked, as the commands of a gateway's
service do. Calls under way end as they began. When an instance is gone, so are its commands, with their circuits.
"""

from __future__ import annotations

import functools
import secrets
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast, overload

import attrs

from ..commands.command import Command, internals_of
from ..commands.dispatch import CALLS
from ..core.checks import number
from ..core.failover import Failover, target_key
from ..core.parameters import signature_of
from ..decorate.commands import command
from ..decorate.signatures import GuardedByKey, OfFirst
from ..engine.callables import check_guardable, flavour_of, transparent_frame, wrap_like
from ..engine.compiled_text import CompiledText, in_flavour
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError
from ..registry import Registry, table_of
from .instance import Instance
from .instance_set import InstanceSet

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

#: A Failover has no more. Each is compiled anew when the instances change, which takes some 3 ms.
MOST_TARGETS: Final = 100
_TEXT: Final = """\
{async_}def guarded(*args, **kwargs):
    {call}
    {return_result}
"""


class InstanceTarget(str):
    """An instance as the target of a failover: its name, which is host, port and base path.

    Attributes:
        instance: All that the source says of it.
    """

    __slots__ = ("instance",)
    instance: Instance

    def __new__(cls, instance: Instance) -> InstanceTarget:
        """The target that an *instance* is."""
        self = super().__new__(cls, instance.name)
        self.instance = instance
        return self

    @property
    def url(self) -> str:
        """Where it answers: scheme, host, port and base path."""
        return self.instance.url


class FailoverGroup:
    """Functions with one key that fail over among the instances of a directory. The directory's lock is held.

    Attributes:
        key: Of the commands.
        registry: Where they are.
    """

    def __init__(self, key: str, registry: Registry) -> None:
        self.key, self.registry = key, registry
        self._rehearsal, self._salt = Registry(clock=registry.clock), secrets.token_hex(4)
        self._functions: tuple[weakref.ref[LiveFunction], ...] = ()
        self._targets: tuple[InstanceTarget, ...] = ()
        self._weights: tuple[float, ...] = ()

    def add(self, function: LiveFunction, current: InstanceSet) -> None:
        """Have one function more.

        Raises:
            ConfigError: What it says is impossible, or another function says otherwise.
        """
        others = [each for each in (reference() for reference in self._functions) if each is not None]
        if others and others[0].most != function.most:
            raise ConfigError(f"most is {others[0].most} for the other functions with the key {self.key!r}; give this "
                              "one the same, or a key of its own", "most")
        function.declare(self.key, (InstanceTarget(Instance(url="http://rehearsal")),), (1.0,), self._rehearsal)
        function.call = function.nobody
        if current.instances:
            targets = self._targets if others and self._targets else self._chosen(current, function.most)
            if targets != self._targets:
                self._use((), ())
            weights = current.weights([each.instance for each in targets])
            function.declare(self.key, targets, weights, self.registry)
            self._use(targets, weights)
        self._functions = (*map(weakref.ref, others), weakref.ref(function))

    def have(self, current: InstanceSet, gone: Sequence[Instance]) -> None:
        """Have these instances; see InstanceSetFollower."""
        functions = [each for each in (reference() for reference in self._functions) if each is not None]
        if not functions:  # the next one begins anew, with other targets
            self._use((), ())
            return
        targets = self._chosen(current, functions[0].most)
        weights = current.weights([each.instance for each in targets])
        if (targets, weights) == (self._targets, self._weights) and all(
                one.instance == other.instance for one, other in zip(targets, self._targets, strict=True)):
            return
        self._declare(functions, targets, weights)
        self._use(targets, weights)

    def _use(self, targets: tuple[InstanceTarget, ...], weights: tuple[float, ...]) -> None:
        """These are in force from now on; the commands of the others are forgotten."""
        gone = set(self._targets) - set(targets)
        self._targets, self._weights = targets, weights
        for each in gone:
            self.registry.remove(target_key(self.key, each))

    def _chosen(self, current: InstanceSet, most: int) -> tuple[InstanceTarget, ...]:
        return tuple(InstanceTarget(each) for each in current.first(most, self._salt))

    def _declare(self, functions: Sequence[LiveFunction], targets: Sequence[InstanceTarget],
                 weights: Sequence[float]) -> None:
        """Declare all functions anew, in the place of what they are: all of them, or none."""
        with table_of(self.registry).lock:
            keys = [self.key, *(target_key(self.key, each) for each in targets)]
            known = [each for each in map(self.registry.get, keys) if each is not None]
            before = [(each, internals_of(each).functions) for each in known]
            restores = [internals_of(each).retract() for each in known]
            calls = [each.call for each in functions]
            try:
                for each in functions:
                    each.declare(self.key, targets, weights, self.registry)
            except BaseException:
                for each, call in zip(functions, calls, strict=True):
                    each.call = call
                for restore in restores:
                    restore()
                raise
            for one, replaced in before:
                for function in replaced:
                    internals_of(one).remove_function(function)


class LiveFunction:
    """A function that fails over among instances which change.

    Attributes:
        call: The wrapper that calls go to at this moment.
        most: The largest number of instances that are used.
        group: Keeps it up to date.
    """

    def __init__(self, fn: Callable[..., Any], group: FailoverGroup, said: Mapping[str, Any],
                 settings: Mapping[str, Any], nobody: Callable[[], Exception]) -> None:
        self.group, self.most, self._nobody = group, said["most"], nobody
        self._fn, self._settings = fn, settings
        self._failover = {name: value for name, value in said.items() if name != "most"}
        self.call: Callable[..., Any] = self.nobody

    def declare(self, key: str, targets: Sequence[InstanceTarget], weights: Sequence[float],
                registry: Registry) -> None:
        """Guard the function for these instances.

        Raises:
            ConfigError: It cannot be guarded so; it is as it was.
        """
        policy = Failover(tuple(targets), weights=tuple(weights), **self._failover)
        self.call = command(**self._settings, key=key, failover=policy, registry=registry)(self._fn)

    def nobody(self, *_: Any, **__: Any) -> Any:
        """A call comes before there is an instance.

        Raises:
            NoInstanceError: Always.
        """
        raise self._nobody()


class InstanceCommands:
    """The commands of a function that fails over among instances: its ``resilience`` attribute.

    Iterating gives those that there are at this moment. Every method may be called from any thread.
    """

    def __init__(self, function: LiveFunction) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<commands of {self._function.group.key!r}: {len(self)}>"

    def __iter__(self) -> Iterator[Command]:
        handle: Any = getattr(self._function.call, "resilience", ())
        return iter(list(handle))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, name: str) -> Command:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def get(self, name: str) -> Command | None:
        """The command of the instance with this name, which is host, port and base path; None: there is none.

        Args:
            name: Of the instance, or the key of the command.
        """
        keys = name, target_key(self._function.group.key, name)
        return next((each for each in self if each.key in keys), None)


class GuardedByInstance(Protocol[P, R_co]):
    """A function that fails over among instances: called as before, and carrying its commands."""

    @property
    def resilience(self) -> InstanceCommands:
        """Look at the commands of the instances."""
        ...

    __name__: str
    __qualname__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function with an instance, and with another one if it fails."""
        ...

    @overload
    def __get__(self, instance: None, owner: Any = None, /) -> GuardedByInstance[P, R_co]: ...
    @overload
    def __get__(self: OfFirst[S, Q, T], instance: S, owner: Any = None, /) -> GuardedByInstance[Q, T]: ...
    @overload  # of a static method
    def __get__(self, instance: object, owner: Any = None, /) -> GuardedByInstance[P, R_co]: ...


@functools.cache
def _text(flavour: Flavour) -> CompiledText:
    return CompiledText(in_flavour(_TEXT, flavour, call=CALLS[flavour]), f"{flavour.value} by directory")


def forwarding(fn: Callable[P, T], group: FailoverGroup, said: Mapping[str, Any], settings: Mapping[str, Any],
               nobody: Callable[[], Exception], current: InstanceSet) -> GuardedByInstance[P, T]:
    """A function like *fn* that calls it with an instance, and with another if it fails.

    Args:
        fn: The function.
        group: Of the functions with the same key.
        said: ``most``, and what a Failover has besides targets and weights.
        settings: Of the command.
        nobody: Makes what is raised if there is no instance.
        current: The set at this moment.

    Raises:
        ConfigError: Something of this is impossible.
    """
    check_guardable(fn, "failover")
    mistake = number(least=1, most=MOST_TARGETS, whole=True).mistake(said["most"])
    if mistake is not None:
        raise ConfigError(f"most {mistake}", "most")
    for name in ("key", "failover", "registry"):
        if name in settings:
            raise ConfigError(f"{name} is given by the directory", name)
    function = LiveFunction(fn, group, said, settings, nobody)
    group.add(function, current)
    guarded = transparent_frame(_text(flavour_of(fn)).bind({"cell": function}))
    wrapper: Any = wrap_like(guarded, fn)
    guarded.resilience = InstanceCommands(function)
    return cast("GuardedByInstance[P, T]", wrapper)


@attrs.frozen
class _Gone:
    """Forgets the commands of instances that are gone; one is as good as another of the same key."""

    _key: str
    _registry: Registry

    def have(self, current: InstanceSet, gone: Sequence[Instance]) -> None:
        """See InstanceSetFollower."""
        for each in gone:
            self._registry.remove(f"{self._key}@{each.name}")


def guarded_each(fn: Callable[P, T], key: str, argument: str, registry: Registry,
                 settings: Mapping[str, Any]) -> tuple[GuardedByKey[P, T], _Gone]:
    """A function like *fn*, whose calls are guarded by a command for each instance; and who forgets these.

    Args:
        fn: The function.
        key: Begins the keys of the commands.
        argument: Name of the parameter that is the instance.
        registry: Where the commands are.
        settings: Of each of them.

    Raises:
        ConfigError: The function has no such parameter, or a setting is out of range.
    """
    signature = signature_of(fn)
    names = [] if signature is None else list(signature.parameters)
    if argument not in names:
        raise ConfigError(f"{getattr(fn, '__qualname__', fn)} has no parameter {argument!r}, which is the instance; "
                          "name one that it has, as argument, or give it one", "argument")
    place = names.index(argument)

    def key_of(*args: Any, **kwargs: Any) -> str:
        instance: Instance = kwargs[argument] if argument in kwargs else args[place]
        return f"{key}@{instance.name}"

    return command(**dict(settings), key=key_of, registry=registry)(fn), _Gone(key, registry)
