"""Guarding a class: ``command`` for each of its public methods at once.

Each method is a command of its own, named after it, so that a method that fails opens no other's circuit; under a
second name it is the same command. Guarded is what the class itself defines as a function: methods, coroutine and
generator methods, classmethods, staticmethods, and what a decorator made that says by ``__wrapped__`` what it stands
around, such as ``functools.cache``, whose hits are calls then. A ``partialmethod`` or ``singledispatchmethod`` cannot
be guarded, and is a mistake unless its function is. What is inherited belongs to its own class; properties are no
calls; names that begin with an underscore are the class's own business, unless ``only`` names them. A method that is
guarded already stays as it is: what is said at the method wins. All methods are decorated before the first is put in
place, so that a mistake leaves the class as it was.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, Final, TypeVar, Unpack, overload

from ..core.setting_names import did_you_mean
from ..engine.callables import innermost
from ..errors import ConfigError
from .arguments import CommandArguments
from .commands import command
from .decoration import inherit
from .inheritance import hand_down
from .wrapper_stack import guards_in

C = TypeVar("C", bound=type[Any])

_MAKERS: Final = (functools.partialmethod, functools.singledispatchmethod)  # of methods, whose function is ``func``


@overload
def guard_class(cls: C, /, *, only: Iterable[str] = (), except_: Iterable[str] = (),
                **settings: Unpack[CommandArguments]) -> C: ...
@overload
def guard_class(*, only: Iterable[str] = (), except_: Iterable[str] = (),
                **settings: Unpack[CommandArguments]) -> Callable[[C], C]: ...
def guard_class(cls: Any = None, /, *, only: Iterable[str] = (), except_: Iterable[str] = (),
                **settings: Unpack[CommandArguments]) -> Any:
    """Guard the public methods of a class, each as a command of its own.

    Works as a call, ``guard_class(Shop, timeout=2.0)``, and as a decorator, ``@guard_class(timeout=2.0)``. Call it
    before other threads use the class.

    Args:
        cls: The class; it is changed, and returned. Left out: return a decorator.
        only: Names of the methods to guard; without it, all public ones.
        except_: Names of the methods to leave as they are.
        **settings: As for resilience.command, but for ``key``: each method has its own.

    Raises:
        ConfigError: A name is none of a method that the class defines, there is nothing to guard, or a setting is
            wrong.
        TypeError: *cls* is no class.
    """
    if cls is None:
        return lambda cls: guard_class(cls, only=only, except_=except_, **settings)
    if not isinstance(cls, type):
        raise TypeError(f"guard_class guards classes, and {cls!r} is none; use command for functions")
    if "key" in settings:
        raise ConfigError("guard_class takes no key: each method is a command of its own; use command(key=...) on "
                          "those that share one", "key")
    chosen = _chosen(cls, _names(only, "only"), _names(except_, "except_"))
    methods = {id(method): method for method in chosen.values()}  # one may have several names
    guarded = {identity: command(**settings)(method) for identity, method in methods.items()}
    for name, method in chosen.items():
        setattr(cls, name, guarded[id(method)])
    hand_down(cls, inherit)
    return cls


def _chosen(cls: type[Any], only: tuple[str, ...], except_: tuple[str, ...]) -> dict[str, Any]:
    """The methods to guard, by name."""
    own = {name: method for name, method in vars(cls).items() if _is_method(_function_of(method))}
    for said, named in (("only", only), ("except_", except_)):
        for name in named:
            if name not in own:
                raise ConfigError(f"guard_class: {cls.__qualname__} defines no method {name}"
                                  f"{did_you_mean(name, own, before='; ')}", said)
    names = [name for name in only or tuple(own) if name not in except_ and (only or not name.startswith("_"))]
    if not names:
        instead = " but those in except_=" if except_ else "; name some in only="
        raise ConfigError(f"guard_class: {cls.__qualname__} defines no public method to guard{instead}", "only")
    left = {name: own[name] for name in names if not _is_guarded(_function_of(own[name]))}
    for name, method in left.items():
        if isinstance(method, _MAKERS):
            raise ConfigError(f"guard_class: {cls.__qualname__}.{name} is a {type(method).__name__}, which cannot be "
                              f"guarded; put command below it, on the function, or name it in except_=", "except_")
    return left


def _is_method(function: Any) -> bool:
    if isinstance(function, _MAKERS):
        return True
    return callable(function) and not isinstance(function, type) and isinstance(innermost(function), FunctionType)


def _is_guarded(function: Any) -> bool:
    return any(guards_in(function.func if isinstance(function, _MAKERS) else function))


def _names(said: Iterable[str], argument: str) -> tuple[str, ...]:
    if isinstance(said, str):
        raise ConfigError(f"{argument} must be names of methods, such as ({said!r},), not {said!r}", argument)
    return tuple(said)


def _function_of(method: Any) -> Any:
    return method.__func__ if isinstance(method, (classmethod, staticmethod)) else method
