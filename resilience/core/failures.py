"""Failures: what the last failed call of a command said, for whoever asks why.

Nothing here keeps an exception, a traceback or a frame alive: of a failure there
stay the name of its type, its message, when it was and how many like it there
were, as one tuple that is replaced as a whole. Counting and replacing are single
steps of CPython. So there is no lock, under which ``str(error)``, the user's code,
would run.

A message is cut at 200 characters, and what stands before the host in a URL is
masked. A collection that is an exception's only argument is shortened before it
is made a text: a failing call must not pay for the payload that it failed on.
"""

from __future__ import annotations

import itertools
import re
import reprlib
from collections.abc import Callable
from typing import Any, Final

_LONGEST: Final = 200
_LOOKED_AT: Final = 4 * _LONGEST
#: Failures further apart are no series, seconds.
_APART_S: Final = 600.0
_USERINFO: Final = re.compile(r"://[^/\s]*@")
_PLAIN: Final = (BaseException.__str__, KeyError.__str__)
_LARGE: Final = (dict, list, tuple, set, frozenset)
_short: Final = reprlib.Repr()
_short.maxstring = _short.maxother = _LONGEST


class Failures:
    """The last failure of one command. Every method may be called from any thread.

    Attributes:
        last: Type, message, time and count of it, the arguments of a LastFailure; None: there was none.
        with_refusals: Whether the circuit counts an inner policy's refusal as a failure, so that it is to be noted.
    """

    __slots__ = ("_series", "last", "with_refusals")
    last: tuple[str, str, float, int] | None
    _series: tuple[str, Callable[[], int]]  # a type's name, and what counts those like it

    def __init__(self) -> None:
        self.with_refusals = False
        self.clear()

    def note(self, error: BaseException, at: float) -> None:
        """A call ended with *error*, at *at* seconds on any monotonic clock. Never raises an Exception."""
        name, message, known, series = _name(error), _message(error), self.last, self._series
        if series[0] != name or known is None or at - known[2] > _APART_S:
            series = self._series = name, itertools.count(1).__next__
        self.last = name, message, at, series[1]()

    def clear(self) -> None:
        """Know of none."""
        self.last, self._series = None, ("", itertools.count(1).__next__)


def _name(error: BaseException) -> str:
    """The name of its class, as a traceback has it."""
    try:
        kind = type(error)
        module, name = kind.__module__, kind.__qualname__
        return name[:_LONGEST] if module == "builtins" else f"{module}.{name}"[:_LONGEST]
    except Exception:  # noqa: BLE001 - a metaclass may forbid it
        return "an exception without a name"


def _message(error: BaseException) -> str:
    """What it says, shortened."""
    try:
        text = _words(error)
    except Exception:  # noqa: BLE001 - __str__ may do anything
        return "an exception that cannot be printed"
    if "://" in text and "@" in text:
        text = _USERINFO.sub("://***@", text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):  # it is what its leaves are
        leaf: BaseException = error
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        return f"{error.message[:_LONGEST]}: {_name(leaf)}({_message(leaf)!r})"
    if type(error).__str__ in _PLAIN:
        args = error.args
        if len(args) == 1:
            only: Any = args[0]
            if type(only) is str:
                return only[:_LOOKED_AT]
            if type(only) in (bytes, bytearray):
                return repr(only[:_LONGEST])
            if type(only) in _LARGE:
                return _short.repr(only)
    return str.__getitem__(str(error), slice(_LOOKED_AT))
