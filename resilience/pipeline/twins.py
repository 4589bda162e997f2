"""Twins: copies of an exception, for all to raise who did not meet it themselves.

What is raised collects traceback and context, and each caller's are his own: one
object raised in many threads would have all their frames. A copy that does not have
the original's very arguments is no copy: ``__init__`` may have made a message of
them, and would make one of the message. So where copy.copy() fails, the state is
handed over without ``__init__``, if all state is where it can be seen.
"""

from __future__ import annotations

import copy
from typing import Any, Final, TypeVar

E = TypeVar("E", bound=BaseException)

_DEPTH: Final = 8  # causes of causes; further ones are left out


def twin_of(error: E, trace: Any) -> E:
    """A copy of *error* with *trace* for its traceback; itself, as it is, if it does not let itself be copied."""
    twin = _copied(error)
    if twin is None:
        return error
    twin.__cause__, twin.__suppress_context__ = error.__cause__, error.__suppress_context__
    return twin.with_traceback(trace)


def keepsake_of(error: E, depth: int = _DEPTH) -> E | None:
    """A copy that keeps no frame alive, of its causes neither; None if there can be none."""
    twin = _copied(error)
    if twin is None:
        return None
    if error.__cause__ is not None and depth:
        twin.__cause__ = keepsake_of(error.__cause__, depth - 1)
    twin.__suppress_context__ = error.__suppress_context__
    return twin.with_traceback(None)


def _copied(error: E) -> E | None:
    for way in (copy.copy, _handed_over):
        try:
            twin = way(error)
        except Exception:  # noqa: BLE001, S112 - its __init__ wants something else than its args, and says so its way
            continue
        if twin is not error and type(twin) is type(error) and len(twin.args) == len(error.args) \
                and all(map(_same, twin.args, error.args)):
            if hasattr(twin, "__notes__"):
                twin.__notes__ = list(twin.__notes__)
            return twin
    return None


def _same(one: object, other: object) -> bool:
    return one is other


def _handed_over(error: E) -> E:
    """A copy without a call of ``__init__``."""
    kind = type(error)
    native = next(each for each in kind.__mro__ if each.__module__ == "builtins")
    if native.__basicsize__ != Exception.__basicsize__ or any(vars(each).get("__slots__") for each in kind.__mro__):
        raise TypeError(f"{kind.__name__} keeps state that a copy would lack")
    twin = kind.__new__(kind, *error.args)
    twin.args = error.args
    twin.__dict__.update(error.__dict__)
    return twin
