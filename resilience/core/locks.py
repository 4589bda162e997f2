"""Locks: those of the engine, which nobody waits for when the interpreter ends.

Python ends daemon threads where they are, and what they hold stays locked. A finalizer that makes a guarded call at the
very end would wait for one of them for ever. No other thread runs any more then, so there is nothing to lock either.
Until exit these are the locks that Python has, and as fast; what they do by then is put into their class at exit.
"""

from __future__ import annotations

import atexit
import threading
from sys import is_finalizing
from typing import Any, Final

_RLOCK: Final[Any] = type(threading.RLock())


class Lock(_RLOCK):  # type: ignore[misc]
    """A lock that its own thread can enter again, as a signal handler does. It is held by a ``with`` statement."""

    __slots__ = ()


def _enter(self: Lock) -> bool:
    return is_finalizing() or bool(self.acquire())


def _leave(self: Lock, *_: object) -> None:
    if not is_finalizing():
        self.release()


def _prepare_for_the_end() -> None:
    Lock.__enter__, Lock.__exit__ = _enter, _leave


atexit.register(_prepare_for_the_end)
