"""Exception copies: for callers that raise an exception which another caller has met.

What is raised collects traceback and context, and each caller has their own: one
object raised in many threads would have all their frames. A copy that does not have
the original's very arguments is no copy: ``__init__`` may have made a message of
them, and would make one of the message. So none of the class's own code runs if all state is where it can be seen:
the builtin class underneath makes the copy, and what is in ``__dict__`` and slots is handed over. Where there
is other state, as in a class written in C, copy.copy() is asked, and its answer looked at.

The class of an exception may forbid every assignment (a frozen dataclass does), or have properties in the place of
what we read. So the attributes of BaseException are read and set by its own descriptors here.
"""

from __future__ import annotations

import builtins
import copy
import struct
import types
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from .exception_groups import is_group

E = TypeVar("E", bound=BaseException)

_DEPTH: Final = 8  # causes of causes; further ones are left out
_BASE: Final = vars(BaseException)
_ARGS: Final[Any] = _BASE["args"]
_CAUSE: Final[Any] = _BASE["__cause__"]
_CONTEXT: Final[Any] = _BASE["__context__"]
_SUPPRESS: Final[Any] = _BASE["__suppress_context__"]
_TRACEBACK: Final[Any] = _BASE["__traceback__"]
_DICT: Final[Any] = _BASE["__dict__"]
_MESSAGE: Final[Any] = vars(BaseExceptionGroup)["message"]
_PARTS: Final[Any] = vars(BaseExceptionGroup)["exceptions"]
_POINTER: Final = struct.calcsize("P")
_FIELD: Final = (types.MemberDescriptorType, types.GetSetDescriptorType)


def traceback_of(error: BaseException) -> types.TracebackType | None:
    """The traceback of *error*, whatever its class says about it."""
    trace: types.TracebackType | None = _TRACEBACK.__get__(error)
    return trace


def cause_of(error: BaseException) -> BaseException | None:
    """What *error* was raised from, whatever its class says about it."""
    cause: BaseException | None = _CAUSE.__get__(error)
    return cause


def args_of(error: BaseException) -> tuple[Any, ...]:
    """The arguments of *error*, whatever its class says about them."""
    args: tuple[Any, ...] = _ARGS.__get__(error)
    return args


def with_traceback(error: E, trace: types.TracebackType | None) -> E:
    """*error* with another traceback, whatever its class says about that."""
    _TRACEBACK.__set__(error, trace)
    return error


def with_cause(error: E, cause: BaseException) -> E:
    """*error* as if it had been raised from *cause*, whatever its class says about that."""
    _CAUSE.__set__(error, cause)
    return error


def alone(error: E) -> E:
    """*error* without traceback, cause and context, whatever its class says about that."""
    for each in (_TRACEBACK, _CAUSE, _CONTEXT):
        each.__set__(error, None)
    return error


def copy_for_raise(error: E, trace: types.TracebackType | None) -> E:
    """A copy of *error* with *trace* for its traceback; itself, as it is, if it does not let itself be copied."""
    twin = _copied(error)
    if twin is None:
        return error
    _CAUSE.__set__(twin, _CAUSE.__get__(error))
    _CONTEXT.__set__(twin, _CONTEXT.__get__(error))
    _SUPPRESS.__set__(twin, _SUPPRESS.__get__(error))
    return with_traceback(twin, trace)


def copy_without_traceback(error: E, depth: int = _DEPTH) -> E | None:
    """A copy that keeps no frame alive, of its causes and of a group's parts neither; None if there can be none."""
    kept: list[Any] | None = None
    if is_group(error):
        kept = [copy_without_traceback(each, depth - 1) if depth else None for each in _PARTS.__get__(error)]
        if any(each is None for each in kept):
            return None
    twin = _copied(error, kept)
    if twin is None:
        return None
    cause = _CAUSE.__get__(error)
    if cause is not None and depth:
        _CAUSE.__set__(twin, copy_without_traceback(cause, depth - 1))
    _SUPPRESS.__set__(twin, _SUPPRESS.__get__(error))
    return with_traceback(twin, None)


def _copied(error: E, parts: list[Any] | None = None) -> E | None:
    """A copy; of a group with these *parts* instead of its own, if there are any."""
    try:
        return _handed_over(error, parts)
    except Exception:  # noqa: BLE001 - it cannot be made without its class
        return _copied_by_class(error) if parts is None else None


def _copied_by_class(error: E) -> E | None:
    """What copy.copy() makes of it, if that says the same."""
    try:
        twin = copy.copy(error)
    except Exception:  # noqa: BLE001 - its __init__ wants something else than its args, and says so its way
        return None
    if twin is error or type(twin) is not type(error):
        return None
    ours, theirs = _ARGS.__get__(twin), _ARGS.__get__(error)
    return twin if len(ours) == len(theirs) and all(map(_same, ours, theirs)) else None


def _same(one: object, other: object) -> bool:
    return one is other


def _handed_over(error: E, parts: list[Any] | None) -> E:
    """A copy that no code of its class has made.

    Raises:
        TypeError: The class keeps state that such a copy would lack.
    """
    kind = type(error)
    native = next(each for each in kind.__mro__ if vars(builtins).get(each.__name__) is each)
    make: Any = native
    slots = sum(type(each) is types.MemberDescriptorType
                for owner in kind.__mro__[:kind.__mro__.index(native)] for each in vars(owner).values())
    weak = kind.__weakrefoffset__ > 0 >= native.__weakrefoffset__
    if kind.__basicsize__ != native.__basicsize__ + _POINTER * (slots + weak):
        raise TypeError(f"{kind.__name__} is not written in Python")
    twin: E
    if is_group(error):
        twin = make.__new__(kind, _MESSAGE.__get__(error), _PARTS.__get__(error) if parts is None else parts)
    else:
        twin = make.__new__(kind)
    for owner, field in _fields(kind):
        try:
            value = field.__get__(error)
        except AttributeError:  # never set
            continue
        if value is not None or not issubclass(native, owner):  # an unset one of a builtin class reads as None
            field.__set__(twin, value)
    _ARGS.__set__(twin, _ARGS.__get__(error) if parts is None else (_MESSAGE.__get__(error), parts))
    own, state = _DICT.__get__(twin), _DICT.__get__(error)
    own.update(state)
    if isinstance(own.get("__notes__"), list):
        own["__notes__"] = list(own["__notes__"])
    return twin


def _fields(kind: type[BaseException]) -> Iterator[tuple[type, Any]]:
    """Where an exception of this *kind* has state beside its ``__dict__`` and what every exception has."""
    for owner in kind.__mro__[:kind.__mro__.index(BaseException)]:
        if owner is not BaseExceptionGroup:  # its fields are given to it as it is made, and never again
            yield from ((owner, each) for name, each in vars(owner).items()
                        if isinstance(each, _FIELD) and name not in ("__dict__", "__weakref__"))
