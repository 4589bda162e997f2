"""Signatures: what type checkers see of decorators and of guarded functions.

A checker has no type for "a function, and an attribute more": what has the attribute
``resilience`` is a protocol with ``__call__``, and as a member of a class such an object
is no method to it. It fits no Protocol and no abstract method, and nothing may override
it. So there are two kinds, told apart by the name of the first parameter: what has a
``self`` or ``cls`` keeps the very type that it had; any other function is a Guarded,
which has its handle. handle_of() finds the handle of the first kind too.

A function whose ``key`` is a callable has a type of its own, the same but for the
handle, which is one over many commands: a generic Guarded would need a type
variable with a default, which is Python 3.13's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from ..commands.command import Command
from ..commands.keyed_commands import KeyedCommands

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


Key = str | Callable[..., str]
Isolation = Literal["auto", "semaphore", "thread"]


class Unset:
    """What stands for an argument that was not given."""

    def __repr__(self) -> str:
        return "..."


UNSET: Any = Unset()


class OfInstance(Protocol):
    """A function whose first parameter is named ``self``."""

    def __call__(_self, self: Any, *args: Any, **kwargs: Any) -> Any: ...  # noqa: N805


class OfClass(Protocol):
    """A function whose first parameter is named ``cls``."""

    def __call__(_self, cls: Any, *args: Any, **kwargs: Any) -> Any: ...  # noqa: N805


class OfFirst(Protocol[S_contra, P, R_co]):
    """A function that has a first parameter, whatever its name."""

    def __call__(self, first: S_contra, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class Free(Protocol[P, R_co]):
    """A function that may be called without arguments, so that it needs no ``self``.

    It comes before Method in the overloads: ``*args, **kwargs`` takes a ``self`` by name as well.
    """

    @overload
    def __call__(self) -> R_co: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


# A type variable, not the protocols themselves: what goes in comes out, with its overloads and its own type variables.
Descriptor = TypeVar("Descriptor", bound="classmethod[Any, ..., Any] | staticmethod[..., Any]")
Method = TypeVar("Method", bound=OfInstance | OfClass)


class Guarded(Protocol[P, R_co]):
    """A guarded function: called as before, and carrying its command."""

    @property
    def resilience(self) -> Command:
        """The handle of the command, to inspect and control it."""
        ...

    __name__: str
    __qualname__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function through its policies."""
        ...

    @overload
    def __get__(self, instance: None, owner: Any = None, /) -> Guarded[P, R_co]: ...
    @overload  # of a method whose first parameter is positional only, or has another name; mypy heeds S only here
    def __get__(self: OfFirst[S, Q, T], instance: S, owner: Any = None, /) -> Guarded[Q, T]: ...
    @overload  # of a static method
    def __get__(self, instance: object, owner: Any = None, /) -> Guarded[P, R_co]: ...


class Decorator(Protocol):
    """What a decorator called with settings returns."""

    @overload
    def __call__(self, fn: Descriptor, /) -> Descriptor: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Free[P, T], /) -> Guarded[P, T]: ...
    @overload
    def __call__(self, fn: Method, /) -> Method: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Guarded[P, T]: ...


class GuardedByKey(Protocol[P, R_co]):
    """A function guarded by key: called as before, and carrying its commands."""

    @property
    def resilience(self) -> KeyedCommands:
        """The handle of the commands, to inspect and control them."""
        ...

    __name__: str
    __qualname__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function through the policies of the call's key."""
        ...

    @overload
    def __get__(self, instance: None, owner: Any = None, /) -> GuardedByKey[P, R_co]: ...
    @overload  # of a method whose first parameter is positional only, or has another name; mypy heeds S only here
    def __get__(self: OfFirst[S, Q, T], instance: S, owner: Any = None, /) -> GuardedByKey[Q, T]: ...
    @overload  # of a static method
    def __get__(self, instance: object, owner: Any = None, /) -> GuardedByKey[P, R_co]: ...


class DecoratorByKey(Protocol):
    """What a decorator called with a callable for ``key`` returns."""

    @overload
    def __call__(self, fn: Descriptor, /) -> Descriptor: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Free[P, T], /) -> GuardedByKey[P, T]: ...
    @overload
    def __call__(self, fn: Method, /) -> Method: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> GuardedByKey[P, T]: ...
