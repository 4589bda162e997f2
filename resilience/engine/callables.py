"""Callables: what a function is, so that its wrapper can look and run the same.

Plain functions become plain functions, which bind to instances by themselves.
What is under a classmethod or staticmethod is guarded, and put back under it. A
callable object, a partial or a bound method becomes a wrapt proxy, which still is
what it was to isinstance, inspect and attribute access. wrapt stands only there:
its empty wrapper alone would double the price of a plain function's guard.
"""

from __future__ import annotations

import functools
import inspect
import os
import types
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import wrapt

from ..core.callbacks import called_by
from .wrapper_spec import Flavour

#: Where a function that stands for the block of a ``with`` statement keeps its Flavour.
FLAVOUR = "__resilience_flavour__"
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Kind = TypeVar("_Kind")

#: Where a wrapper keeps its Guard; functools.wraps copies it along, hence Guard.wrapper.
GUARD = "__resilience_guard__"


class GuardedCallable(wrapt.CallableObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]
    """A callable object whose calls go through a compiled wrapper."""

    def __init__(self, wrapped: Any, guarded: Callable[..., Any]) -> None:
        super().__init__(wrapped)
        self._self_guarded = guarded

    if not TYPE_CHECKING:

        @property
        def __call__(self) -> Any:
            """Return the compiled wrapper: inspect asks ``__call__`` too whether it is a coroutine function."""
            return self._self_guarded

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Bind as the callable itself does: what functools.lru_cache makes is a method, a partial is none."""
        bind = getattr(type(self.__wrapped__), "__get__", None)
        if instance is None or bind is None or bind(self.__wrapped__, instance, owner) is self.__wrapped__:
            return self
        return types.MethodType(self, instance)

    def __copy__(self) -> GuardedCallable:
        return self  # as a function is its own copy

    def __deepcopy__(self, memo: Any) -> GuardedCallable:
        return self

    @property
    def resilience(self) -> Any:
        """The command; see resilience.Command."""
        return self._self_guarded.resilience  # type: ignore[attr-defined]


def check_guardable(fn: object, what: str) -> None:
    """Raise TypeError, saying what to do instead, for what cannot be guarded."""
    if isinstance(fn, type):
        raise TypeError(f"{what} guards calls, not classes such as {fn.__qualname__}; decorate its methods")
    method = next((kind for kind in (classmethod, staticmethod) if isinstance(fn, kind)), None)
    if method is not None and not issubclass(type(fn), method):  # a proxy, as wrapt's decorators make them
        raise TypeError(f"{what} cannot guard the {type(fn).__name__} around a {method.__name__}; put "
                        f"@{method.__name__} on top of {what} and of the decorator that made it")
    if not callable(fn) and method is None:
        if hasattr(type(fn), "__get__"):
            kind = type(fn).__name__
            raise TypeError(f"{what} guards calls, and a {kind} is none; put it below @{kind}, on the function")
        hint = f"; write {what}(key={fn!r}) to name the command" if isinstance(fn, str) and what[-1] != ")" else ""
        raise TypeError(f"{what} guards callables; {fn!r} of type {type(fn).__name__} is not callable{hint}")


def flavour_of(fn: Callable[..., Any]) -> Flavour:
    """How calling *fn* runs."""
    flavour = said(fn, FLAVOUR, Flavour)
    if flavour is not None:
        return flavour
    called = called_by(fn)
    if called is not fn:
        return flavour_of(called)
    for target in (fn, getattr(fn, "__call__", None)):  # noqa: B004 - an object's own __call__, not whether it has one
        if target is None:
            continue
        if _says(inspect.isasyncgenfunction, target):
            return Flavour.ASYNC_GENERATOR
        if _says(inspect.iscoroutinefunction, target) or _is_awaitable_generator(target):
            return Flavour.ASYNC
        if _says(inspect.isgeneratorfunction, target):
            return Flavour.GENERATOR
    return Flavour.SYNC


def _says(question: Callable[[object], bool], target: object) -> bool:
    """Ask inspect, which reads an object's annotations to tell whether it is like a function; these may fail."""
    try:
        return question(target)
    except Exception:  # noqa: BLE001 - whatever an annotation raises
        return False


def _is_awaitable_generator(fn: object) -> bool:
    """Whether types.coroutine made it."""
    code = said(fn, "__code__", types.CodeType)
    return code is not None and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)


#: Code by its id: codes are equal that look the same, and to hash one takes longer than all else here.
TRANSPARENT_FRAMES: dict[int, types.CodeType] = {}


def transparent_frame(function: _Function) -> _Function:
    """Mark what our own code puts between a wrapper and its function; see is_transparent()."""
    TRANSPARENT_FRAMES[id(function.__code__)] = function.__code__
    return function


def is_transparent(code: types.CodeType) -> bool:
    """Whether a frame of this code is none of the user's."""
    return id(code) in TRANSPARENT_FRAMES


def said(fn: object, name: str, kind: type[_Kind]) -> _Kind | None:
    """An attribute of *fn* that is of this *kind*; None: there is none.

    A callable object may compute its attributes. A method of ``xmlrpc.client.ServerProxy`` has one of any name, which
    is such a method again.
    """
    try:
        found = getattr(fn, name, None)
    except Exception:  # noqa: BLE001 - whatever an object's own attributes raise
        return None
    return found if issubclass(type(found), kind) else None


def wrapped_by(fn: Any) -> Any:
    """What *fn* wraps, as its ``__wrapped__`` says; None: nothing, also if it has an attribute of any name."""
    says = "__wrapped__" in (said(fn, "__dict__", dict) or ()) or hasattr(type(fn), "__wrapped__")
    return getattr(fn, "__wrapped__", None) if says else None


def layers(fn: Any, beneath: Callable[[Any], Any] = wrapped_by) -> Iterator[Any]:
    """*fn*, and what it wraps, one beneath the other; a circle ends where it closes."""
    seen: set[int] = set()
    while fn is not None and id(fn) not in seen:
        seen.add(id(fn))
        yield fn
        fn = beneath(fn)


def place_of(fn: Any) -> str:
    """Where a function stands, in brackets behind a space, for messages; "" if it has no Python code."""
    code = said(innermost(fn), "__code__", types.CodeType)
    return "" if code is None else f" ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"


def innermost(fn: Any) -> Any:
    """What is beneath all wrappers of *fn*."""
    *_, inner = layers(fn)
    return inner


#: Attribute of a function: the group of its command unless somebody says another, in the place of its module.
USUAL_GROUP: Final = "__resilience_group__"
#: Attribute of a function of an adapter, which sees to some policies by itself: a tuple of these, for explain().
OF_ADAPTER: Final = "__resilience_adapter__"


def name_of(fn: Callable[..., Any]) -> tuple[str, str]:
    """Module and qualified name, also of partials, bound methods and callable objects."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    named = fn if said(fn, "__qualname__", str) else type(fn)
    return said(named, "__module__", str) or "builtins", named.__qualname__


def look_like(wrapper: Callable[..., Any], fn: Callable[..., Any],
              names: Iterable[str] = functools.WRAPPER_ASSIGNMENTS) -> Callable[..., Any]:
    """functools.update_wrapper(), for a *fn* too that has no annotations, or no name, that can be had."""
    functools.update_wrapper(wrapper, fn, assigned=())
    for name in names:
        try:
            setattr(wrapper, name, getattr(fn, name))
        except Exception:  # noqa: BLE001, S110 - an object computes them, and fails, or has them of any kind
            pass
    return wrapper


def wrap_like(guarded: Callable[..., Any], fn: Callable[..., Any]) -> Callable[..., Any]:
    """Make the compiled wrapper look like *fn*."""
    look_like(guarded, fn)
    guarded.__dict__.pop(GUARD, None)
    if isinstance(fn, types.FunctionType):
        return guarded
    return GuardedCallable(fn, guarded)
