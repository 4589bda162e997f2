"""Callbacks: functions of the user that a policy calls on the way to the user's function, or in its place.

``by`` of a rate limit, ``priorities`` of an adaptive limit, ``error`` and ``result`` of chaos. What one of them
raises is a mistake in it: neither a refusal of the policy nor a failure of the target, whatever its
type (a ``by`` that looks something up through another command may raise a CircuitOpenError).
What must be awaited or iterated is no callback: the policy would take the coroutine for the answer, which is
true, and equal to no other.
Nothing can be written on an exception to tell it by, for its class may forbid that, or somebody may raise the same
one again elsewhere; so it is told by the frame that it came through.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container, Mapping
from typing import Any, Final, TypeVar

from ..errors import ConfigError
from .exception_copy import traceback_of

T = TypeVar("T")

_RUN_BY_OTHERS: Final = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
#: What to do about a callback that is not plain, for messages.
GIVE_PLAIN: Final = "give a plain function: nobody would await or iterate what this one returns"


def is_plain(callback: object) -> bool:
    """Whether a call of *callback* returns its answer, and no coroutine or generator that is to be run first."""
    callback = called_by(callback)
    for function in (callback, getattr(type(callback), "__call__", None)):  # noqa: B004 - an object's own
        try:
            if any(is_one(function) for is_one in _RUN_BY_OTHERS):
                return False
        except Exception:  # noqa: BLE001, S110 - inspect reads annotations, which may raise anything
            pass
    return True


def called_by(function: Any) -> Any:
    """What a partial calls; anything else: itself."""
    while issubclass(type(function), functools.partial):
        function = function.func
    return function


def check_plain(callback: object, name: str, parameters: str | None = None) -> None:
    """See that *callback* is what a policy or an adapter can call.

    Args:
        callback: What was given.
        name: Of the setting.
        parameters: What it is called with, for the message; None: that is said elsewhere.

    Raises:
        ConfigError: It cannot be called, or what it returns would have to be awaited or iterated.
    """
    if callable(callback) and is_plain(callback):
        return
    what = "callable" if parameters is None else f"a {'plain ' if callable(callback) else ''}function of {parameters}"
    hint = f"; {GIVE_PLAIN}" if callable(callback) else ""
    raise ConfigError(f"{name} must be {what}, not {callback!r}{hint}", name)


def call_back(callback: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> T:
    """Call *callback*; came_of_callback() knows what it raises.

    Raises:
        RuntimeError: It raised StopIteration, as next() does of what is empty. In a generator that would look like its
            end; coroutines and generators do the same (PEP 479).
    """
    try:
        return callback(*args, **kwargs) if kwargs else callback(*args)
    except (StopIteration, StopAsyncIteration) as error:
        raise RuntimeError(f"a callback raised {type(error).__name__}") from error


def check_hashable(key: object, setting: str, command: str) -> None:
    """See that a *key* that a callback returned, the *setting* of a *command*, can tell calls apart.

    Raises:
        TypeError: It cannot be hashed.
    """
    try:
        hash(key)
    except TypeError as error:
        raise TypeError(f"{command}: {setting} must return something hashable, such as a string or a tuple, not "
                        f"{key!r}: {error}") from None


_MARK: Final = call_back.__code__


def came_of_callback(error: BaseException, through: Container[int]) -> bool:
    """Whether *error*, just caught, was raised in a callback of the policies of this very call.

    Args:
        error: What was caught; its outermost frame is the catcher's.
        through: The ids of the code of what may stand between that frame and the callback.
    """
    trace = traceback_of(error)
    while trace is not None and (trace := trace.tb_next) is not None:
        code = trace.tb_frame.f_code
        if code is _MARK:
            return True
        if id(code) not in through:
            return False
    return False
