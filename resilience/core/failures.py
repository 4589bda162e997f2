"""Failures: what the last failed call of a command said, for whoever asks why.

Nothing here keeps an exception, a traceback or a frame alive: of a failure there
stay the name of its type, its message, when it was and how many like it there
were, as one tuple that is replaced as a whole. Counting and replacing are single
steps of CPython. So there is no lock, under which ``str(error)``, the user's code,
would run.

What stands before the host in a URL is masked, and only then a message is cut at 200
characters (url_credentials.py says why). What is an exception's only argument is
shortened before it is made a text, each string in a collection by itself: a failing
call must not pay for the payload that it failed on.
"""

from __future__ import annotations

import itertools
import reprlib
import weakref
from collections.abc import Callable
from math import inf
from typing import Any, Final

from .exception_groups import first_leaf, is_group, message_of
from .url_credentials import masked_beginning

_LONGEST: Final = 200
_LOOKED_AT: Final = 4 * _LONGEST
#: Failures further apart are no series, seconds.
_APART_S: Final = 600.0
_PLAIN: Final = (BaseException.__str__, KeyError.__str__, OSError.__str__)  # they say their one argument, if it is one
_LARGE: Final = (dict, list, tuple, set, frozenset)


class Failures:
    """The last failure of one command. Every method may be called from any thread.

    Attributes:
        last: Type, message, time and count of it, the arguments of a LastFailure; None: there was none.
        with_refusals: Whether the circuit counts an inner policy's refusal as a failure, so that it is to be noted.
        with_deadlines_s: From how long on a caller's own deadline is a failure too, as the circuit sees it, seconds.
    """

    __slots__ = ("_series", "last", "with_deadlines_s", "with_refusals")
    last: tuple[str, str, float, int] | None
    _series: _Series

    def __init__(self) -> None:
        self.with_refusals, self.with_deadlines_s = False, inf
        self.clear()

    def note(self, error: BaseException, at: float) -> None:
        """Note that a call ended with *error*, at *at* seconds on any monotonic clock. Never raises an Exception."""
        known, series = self.last, self._series
        if series[0]() is not type(error) or known is None or at - known[2] > _APART_S:
            series = self._series = _begin(type(error))
        _, name, plain, count = series
        self.last = name, _message(error, plain), at, count()

    def clear(self) -> None:
        """Forget the last failure."""
        self.last, self._series = None, _NONE


#: Failures of one class: the class, its name, whether it says what it was given, and what counts them.
_Series = tuple[Callable[[], type | None], str, bool, Callable[[], int]]
_NONE: Final[_Series] = (lambda: None, "", False, lambda: 0)


def _begin(kind: type[BaseException]) -> _Series:
    # Weakly: else a class made in a function would keep all that the function knew.
    return weakref.ref(kind), _name(kind), kind.__str__ in _PLAIN, itertools.count(1).__next__


def _name(kind: type[BaseException]) -> str:
    """The name of a class, as a traceback has it."""
    try:
        module, name = kind.__module__, kind.__qualname__
        return name[:_LONGEST] if module == "builtins" else f"{module}.{name}"[:_LONGEST]
    except Exception:  # noqa: BLE001 - a metaclass may forbid it
        return "an exception without a name"


def _message(error: BaseException, plain: bool) -> str:
    """What it says, shortened; *plain*: that is what it was given."""
    try:
        args = error.args
        text = args[0] if plain and len(args) == 1 and type(args[0]) is str else _words(error, plain)
        return _cut(masked_beginning(text, _LOOKED_AT))
    except Exception:  # noqa: BLE001 - __str__ may do anything
        return "an exception that cannot be printed"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST - 3] + "..."


def _words(error: BaseException, plain: bool) -> str:
    if is_group(error):  # it is what its leaves are
        leaf = first_leaf(error)
        kind = type(leaf)
        said = _cut(masked_beginning(message_of(error), _LOOKED_AT))
        return f"{said}: {_name(kind)}({_message(leaf, kind.__str__ in _PLAIN)!r})"
    if plain and len(error.args) == 1:
        only: Any = error.args[0]
        if type(only) in (bytes, bytearray):
            return _short.repr_bytes(only, 0)
        if type(only) in _LARGE:
            return _short.repr(only)
    return str(error)


class _Short(reprlib.Repr):
    """A repr() of little for collections, in which every text is masked before it is cut."""

    def repr_str(self, x: str, level: int) -> str:
        """The beginning of a string, which is a builtin one."""
        return repr(_cut(masked_beginning(x, _LOOKED_AT)))

    def repr_bytes(self, data: bytes | bytearray, level: int) -> str:
        """The beginning of bytes, each of which is a character here."""
        text = data[:_LOOKED_AT + 1].decode("latin-1")
        return repr(type(data)(_cut(masked_beginning(text, _LOOKED_AT)).encode("latin-1")))

    repr_bytearray = repr_bytes

    def repr_instance(self, x: Any, level: int) -> str:
        """The beginning of what any other object says."""
        try:
            return _cut(masked_beginning(repr(x), _LOOKED_AT))
        except Exception:  # noqa: BLE001 - as reprlib does it
            return f"<{type(x).__name__} instance>"


_short: Final = _Short()
