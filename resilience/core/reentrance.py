"""Reentrance: what happens when a thread that is at work in a machine calls in there again.

A signal handler runs in the middle of whatever its thread does, and so does a finalizer
that the garbage collector runs. If that thread was at work in a machine, under its
lock, then the guarded function that the handler calls comes to the same lock. It
must not wait, for it would wait for itself: so the lock can be entered again. But what
it finds is half changed, so it must not touch it either.

Each machine has one guard, which is a lock and a note that somebody is at work under
it. Only a thread that has the lock sees the note, so if it is set, it is this
thread's own. There are two kinds of work:

*do*   What is reported or changed is put off until the work under way is done. It
       is never lost, and nothing of it is seen before. Who is interrupted before what
       was put off is done leaves it to the next who comes.
*ask*  An answer is wanted now, and cannot wait. The caller hears MET, and answers as
       suits: refuses, or says what can be said without the lock.

Work is a function, so that no ``with`` statement of Python code stands between taking
the lock and noting it: an interrupt there would leave it locked for ever (0009).

What work returns may be news for others (a circuit's change of state). They hear of it
when the lock is free, in the thread that did the work, and before what was put
off is done; so news arrives in order as far as one thread brings it about.

Where a thread takes several locks of the engine, it takes them in this order: the registry's
(commands.command_table), a pool's (drivers.pools), a guard, a bulkhead's (core.bulkhead). Whoever holds one takes none
that stands before it, and no second guard. The other locks in core, drivers and engine are innermost, as a bulkhead's
is, but that of drivers.background_calls, which stands right before a pool's.

A guard is for what is rare. What every call does should need none (window.Tally).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .locks import Lock

#: ask() says that this thread is at work there already.
MET: Final[Any] = object()


class ReentryGuard:
    """The lock of one machine. Every method may be called from any thread, and by a signal handler.

    Args:
        tell: Hears of whatever work returns but None, when the lock is free; None: nobody wants to know.
    """

    __slots__ = ("_busy", "_late", "_lock", "_tell")

    def __init__(self, tell: Callable[[Any], object] | None = None) -> None:
        self._tell = tell
        self.renew()

    def renew(self) -> None:
        """Start over in a forked child: a lock that another thread held at the fork is never released there."""
        self._lock = Lock()
        self._busy = False  # somebody is at work under the lock; seen by that thread only
        self._late: tuple[tuple[Any, ...], ...] = ()  # work that was put off: functions with their arguments

    def do(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Do *work* under the lock; later, if this thread is at work there."""
        with self._lock:
            if self._busy:
                self._late += ((work, *arguments),)
                return
            self._busy = True
            try:
                news = work(*arguments)
            finally:
                self._busy = False
        if news is not None and self._tell is not None:
            self._tell(news)
        if self._late:
            self._catch_up()

    def ask(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do *work* under the lock and return its result; return MET if this thread is at work there already."""
        with self._lock:
            if self._busy:
                return MET
            self._busy = True
            try:
                answer = work(*arguments)
            finally:
                self._busy = False
        if answer is not None and self._tell is not None:
            self._tell(answer)
        if self._late:
            self._catch_up()
        return answer

    def _catch_up(self) -> None:
        while True:
            with self._lock:  # other threads put off and catch up too
                if not self._late:
                    return
                (work, *arguments), *rest = self._late
                self._late = tuple(rest)
            self.do(work, *arguments)
