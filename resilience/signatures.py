"""Signatures: what type checkers see of decorators and of guarded functions.

A function whose ``key`` is a callable has a type of its own, the same but for the
handle, which is one over many commands: a generic Guarded would need a type
variable with a default, which is Python 3.13's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from .commands.command import Command
from .commands.keyspace import KeyedCommands

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


Key = str | Callable[..., str]
Isolation = Literal["auto", "semaphore", "thread"]


class Unset:
    """What stands for a setting that was not given."""

    def __repr__(self) -> str:
        return "its default"


UNSET: Any = Unset()


class OfClass(Protocol[S_contra, P, R_co]):
    """A function whose first argument is a class."""

    def __call__(self, cls: type[S_contra], /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class Guarded(Protocol[P, R_co]):
    """A guarded function: called as before, and carrying its command."""

    @property
    def resilience(self) -> Command:
        """Look at the command, and steer it."""
        ...

    __name__: str
    __qualname__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function through its policies."""
        ...

    @overload  # of a class method, from the class
    def __get__(self: OfClass[S, Q, T], instance: None, owner: type[S], /) -> Guarded[Q, T]: ...
    @overload
    def __get__(self, instance: None, owner: Any = None, /) -> Guarded[P, R_co]: ...
    @overload
    def __get__(self: Guarded[Concatenate[S, Q], T], instance: S, owner: Any = None, /) -> Guarded[Q, T]: ...
    @overload  # of a class method
    def __get__(self: OfClass[S, Q, T], instance: S, owner: Any = None, /) -> Guarded[Q, T]: ...
    @overload  # of a static method
    def __get__(self, instance: object, owner: Any = None, /) -> Guarded[P, R_co]: ...


class Decorator(Protocol):
    """What a decorator called with settings returns."""

    @overload
    def __call__(self, fn: classmethod[S, P, T], /) -> classmethod[S, P, T]: ...
    @overload
    def __call__(self, fn: staticmethod[P, T], /) -> staticmethod[P, T]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Guarded[P, T]: ...


class GuardedByKey(Protocol[P, R_co]):
    """A function guarded by key: called as before, and carrying its commands."""

    @property
    def resilience(self) -> KeyedCommands:
        """Look at the commands, and steer them."""
        ...

    __name__: str
    __qualname__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function through the policies of the call's key."""
        ...

    @overload  # of a class method, from the class
    def __get__(self: OfClass[S, Q, T], instance: None, owner: type[S], /) -> GuardedByKey[Q, T]: ...
    @overload
    def __get__(self, instance: None, owner: Any = None, /) -> GuardedByKey[P, R_co]: ...
    @overload
    def __get__(self: GuardedByKey[Concatenate[S, Q], T], instance: S, owner: Any = None, /) -> GuardedByKey[Q, T]: ...
    @overload  # of a class method
    def __get__(self: OfClass[S, Q, T], instance: S, owner: Any = None, /) -> GuardedByKey[Q, T]: ...
    @overload  # of a static method
    def __get__(self, instance: object, owner: Any = None, /) -> GuardedByKey[P, R_co]: ...


class DecoratorByKey(Protocol):
    """What a decorator called with a callable for ``key`` returns."""

    @overload
    def __call__(self, fn: classmethod[S, P, T], /) -> classmethod[S, P, T]: ...
    @overload
    def __call__(self, fn: staticmethod[P, T], /) -> staticmethod[P, T]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, T], /) -> GuardedByKey[P, T]: ...
