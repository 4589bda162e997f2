"""Vendor errors: a refusal or timeout of ours that is an exception of another library as well.

A guard that a file puts around ``requests.sessions:Session.send`` raises CircuitOpenError into code that catches
requests.ConnectionError and has never heard of this library. ``raise_as`` names the class that this code knows, and the
error that reaches it is an instance of both: of a class made here for the two, with ours first, so that message,
``key`` and ``retry_after`` are those of our error.

The vendor's ``__init__`` does not run on that instance, for it may want arguments that nobody has. What it sets on an
instance of its own, made with the message alone, is handed over, so that ``error.response is None`` of requests is
true rather than an AttributeError; if it does not let itself be made so, its attributes are missing.

Such an instance is pickled as its two classes and its state, since the class that was made has no name to be found by.
What belongs to the process stays behind: the request and the response, which may hold a connection or a generator, and
who judged a failed result.
"""

from __future__ import annotations

import builtins
import functools
from typing import Any, Final

from ..errors import CallTimeoutError, ChaosError, ConfigError, NoTimeLeftError, RejectedError
from .exception_groups import is_a
from .verdict import FailedResultError

#: What a guard raises of its own accord into the code that called.
RAISED_BY_GUARDS: Final = (RejectedError, CallTimeoutError, FailedResultError, ChaosError)
_MADE: Final = "__resilience_made__"
_UNPICKLED: Final = {"_judged_by", "request", "_request", "response"}
_BASE: Final = vars(BaseException)
_ARGS: Final[Any] = _BASE["args"]
_DICT: Final[Any] = _BASE["__dict__"]
_CONTEXT: Final[Any] = _BASE["__context__"]
_KEPT: Final[tuple[Any, ...]] = tuple(
    _BASE[name] for name in ("__cause__", "__context__", "__suppress_context__", "__traceback__"))


def check_vendor(vendor: Any, name: str) -> None:
    """Make sure that an error of ours can be an instance of *vendor* too.

    Raises:
        ConfigError: It cannot; *name* is the setting's.
    """
    if not isinstance(vendor, type) or not issubclass(vendor, Exception):
        raise ConfigError(f"{name} must be an Exception class, not {vendor!r}", name)
    for ours in (*RAISED_BY_GUARDS, NoTimeLeftError):
        if not issubclass(ours, vendor):
            try:
                _class_of(ours, vendor)
            except Exception as error:
                raise ConfigError(f"{name}: no {ours.__name__} can be a {vendor.__module__}.{vendor.__qualname__} "
                                  f"as well, for Python says: {error}; name a base class of it", name) from error


def as_vendor_error(error: Exception, vendor: type[Exception]) -> Exception:
    """A copy of *error* that is an instance of *vendor* too, with its traceback, cause and context.

    *error* itself if it is one already, or if its class, a user's own, cannot be combined with the vendor's.
    """
    if is_a(error, vendor):
        return error
    ours = next(kind for kind in type(error).__mro__ if _MADE not in vars(kind))
    state = {**_vendor_state(ours, vendor, str(error)), **_DICT.__get__(error)}
    try:
        twin = _rebuilt(ours, vendor, _ARGS.__get__(error), state)
    except TypeError:
        return error
    for field in _KEPT:
        field.__set__(twin, field.__get__(error))
    return twin


def as_client_error(rejected: type[Exception], timed_out: type[Exception], error: Exception) -> Exception:
    """As as_vendor_error(), for a client with one class for what was *rejected*, and another for what *timed_out*."""
    return as_vendor_error(error, timed_out if is_a(error, CallTimeoutError) else rejected)


def context_of(error: BaseException) -> BaseException | None:
    """The ``__context__`` of *error*, whatever its class says about it."""
    context: BaseException | None = _CONTEXT.__get__(error)
    return context


def with_context(error: BaseException, context: BaseException | None) -> None:
    """Set the ``__context__`` of *error*, whatever its class says about it."""
    _CONTEXT.__set__(error, context)


def _vendor_state(ours: type[Exception], vendor: type[Exception], message: str) -> dict[str, Any]:
    """What the vendor's ``__init__`` sets, without what our error has a word of its own for."""
    try:
        made = _DICT.__get__(vendor(message))
    except Exception:  # noqa: BLE001 - it wants something else, and says so its way
        return {}
    return {name: value for name, value in made.items() if not hasattr(ours, name)}


def _combined(ours: type[Exception], vendor: type[Exception]) -> type[Exception]:
    """The class of what is an instance of both.

    Raises:
        TypeError: Python has no room for both in one object.
    """
    return type(f"{ours.__name__}As{vendor.__name__}", (ours, vendor), {
        _MADE: True, "__module__": ours.__module__, "__str__": ours.__str__, "__repr__": Exception.__repr__,
        "__reduce__": _reduced, "__reduce_ex__": lambda self, _: _reduced(self),
        "__doc__": f"A {ours.__name__} that is a {vendor.__module__}.{vendor.__qualname__} as well."})


_class_of: Final[Any] = functools.lru_cache(maxsize=512)(_combined)


def _reduced(error: Exception) -> tuple[Any, ...]:
    ours, vendor = type(error).__bases__
    state = {name: None if name in _UNPICKLED else value for name, value in _DICT.__get__(error).items()}
    return _rebuilt, (ours, vendor, _ARGS.__get__(error), state)


def _rebuilt(ours: type[Exception], vendor: type[Exception], args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    kind: type[Exception] = _class_of(ours, vendor)
    native: Any = next(each for each in kind.__mro__ if vars(builtins).get(each.__name__) is each)
    twin: Exception = native.__new__(kind)
    _ARGS.__set__(twin, args)
    _DICT.__get__(twin).update(state)
    return twin
