"""Async timeouts by cancellation, for about a third of what asyncio.timeout costs.

Calls with the same timeout end in the order they began, so their deadlines form
a queue, not a heap: one FIFO and one loop timer per (loop, timeout) serve them
all. A call appends a *watch* and marks it done when it ends; those done at the
head are dropped by the next call. The timer looks at the head, cancels what is
due and sets itself for the next one. The loop, which has the timer, is the only one that
keeps the FIFO: we know it weakly. So calls that a closed loop has left unfinished go with
it, and what they hold comes back when the garbage collector closes their coroutines.

All of it is on the loop's clock, ``loop.time()``, read by a call of that method and
never in its place: it may be virtual, patched on the loop or its class, or real while
the process's clock is frozen. It may also go back, as it does when a test ends the
freezing of the process's clock: then the order no longer holds, and the one timer may
be set for a time decades away. The calls that begin after that get a FIFO and a timer
of their own, so that each is cancelled exactly when asyncio.timeout would cancel it.

What asyncio.timeout guarantees holds here too: only a cancellation that we sent
becomes a CallTimeoutError, a user's own TimeoutError stays the user's, and an
outer cancellation stays a cancellation even when ours came with it (the count
that Task.cancelling keeps tells them apart).
"""

from __future__ import annotations

import asyncio
import weakref
from asyncio import current_task
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final, TypeVar

from ..core.exception_copy import with_cause
from ..core.exception_groups import matches
from ..errors import BadRequestError, CallTimeoutError
from .deadline_context import Deadline, current, deadline_error, give_back, in_use
from .local_stalls import came_late

#: One call under a deadline: [task (None once it has ended), fifo or _Within, deadline, cancelling at entry, fired].
#: A list, since making one costs a tenth of making an object.
Watch = list[Any]
_TASK, _FIFO, _DEADLINE, _CANCELLING, _FIRED = range(5)
_SWEEP_AT: Final = 256
#: Turns of the loop that answers have after a stall: from a socket through a client's parser to the task that awaits.
GRACE: Final = 16
#: In the place of "fired", true: the wrapper is to call leave().
_WITHIN: Final = "not fired, but within a caller's deadline"


class NoTaskError(BadRequestError, RuntimeError):
    """Nobody runs a call in an asyncio task, which a policy could cancel: the caller's mistake, not the target's."""


def no_task(key: str, policy: str = "timeout") -> NoTaskError:
    """The error for a call of the command *key* that no task runs, as its *policy* needs it."""
    return NoTaskError(f"{key}: a {policy} needs an asyncio task to cancel")


class Fifo:
    """The watches of one loop and one timeout, in the order of their deadlines.

    Attributes:
        last: The latest deadline; a watch with an earlier one would break the order. Infinite while no timer is set,
            so that one comparison tells both.
    """

    __slots__ = ("__weakref__", "full", "last", "loop", "timeout", "watches")
    cut = False

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self.loop, self.timeout = loop, timeout
        self.watches: deque[Watch] = deque()
        self.last = inf
        self.full = _SWEEP_AT  # how many watches are worth a sweep

    def due(self, loop: asyncio.AbstractEventLoop, timed: float, turns: int = GRACE) -> None:
        """Cancel the calls whose deadline has passed; set the timer for the next.

        If the timer, set for *timed*, comes late because something has blocked the loop, answers that lie in the
        sockets have some *turns* of the loop to reach their calls first.
        """
        now, watches = loop.time(), self.watches
        if turns and (turns < GRACE or came_late(now - timed)):
            loop.call_soon(self.due, loop, timed, turns - 1)
            return
        self.last = inf  # so that an interrupt in here is made good by the next call
        while watches:
            watch = watches[0]
            task = watch[_TASK]
            if task is not None:
                if watch[_DEADLINE] > now:
                    self.arm(loop, watch[_DEADLINE])
                    self.last = watches[-1][_DEADLINE]
                    return
                watch[_FIRED] = True
                task.cancel()
            watches.popleft()

    def arm(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """Set the timer."""
        loop.call_at(deadline, self.due, loop, deadline)
        self.last = deadline

    def sweep(self) -> None:
        """Drop the calls that ended behind one that goes on."""
        live = [watch for watch in self.watches if watch[_TASK] is not None]
        self.watches.clear()
        self.watches.extend(live)
        self.full = 2 * len(live) + _SWEEP_AT


class _Within:
    """What is special about a call within its caller's deadline: a timer of its own, out of any order.

    Attributes:
        timeout: Seconds that the call was given.
        cut: Whether that is less than its own timeout.
        timer: Ends it.
        end: When its time is up, for those it calls; None: with its caller's.
    """

    __slots__ = ("cut", "end", "timeout", "timer")

    def __init__(self, timeout: float, outer: Deadline, left: float) -> None:
        self.cut = left < timeout
        self.timeout = left if self.cut else timeout
        self.timer: asyncio.TimerHandle | None = None
        self.end: Deadline | None = None if self.cut else outer.sooner(timeout)

    def leave(self) -> None:
        """End the watch of a call that has ended."""
        if self.timer is not None:
            self.timer.cancel()
        if self.end is not None:
            give_back(self.end)


def _fire(watch: Watch) -> None:
    task = watch[_TASK]
    if task is not None:  # else an interrupt in leave() has kept the timer alive
        watch[_FIRED] = True
        task.cancel()


_AnyFifo = TypeVar("_AnyFifo", bound=Fifo)
Fifos = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.WeakValueDictionary[float, _AnyFifo]]
_fifos: Final[Fifos[Fifo]] = weakref.WeakKeyDictionary()


def no_fifo() -> None:
    """In the place of a weak reference to the FIFO that was used last: none was."""


def fifo_of(fifos: Fifos[_AnyFifo], loop: asyncio.AbstractEventLoop, timeout: float,
            make: Callable[[asyncio.AbstractEventLoop, float], _AnyFifo]) -> _AnyFifo:
    """The FIFO of a *loop* and a *timeout* among those that there are, or a new one."""
    of_loop = fifos.get(loop)
    if of_loop is None:
        of_loop = fifos.setdefault(loop, weakref.WeakValueDictionary())
    fifo = of_loop.get(timeout)
    if fifo is None:
        fifo = of_loop[timeout] = make(loop, timeout)
    return fifo


class AsyncTimeout:
    """The timeout of one command, for coroutines.

    Attributes:
        timeout: Seconds; None: no timeout. May be changed at any time; calls
            under way keep theirs.
    """

    __slots__ = ("_fifo", "_key", "timeout")

    def __init__(self, key: str, timeout: float | None) -> None:
        self._key = key
        self.timeout = timeout
        self._fifo: Callable[[], Fifo | None] = no_fifo  # the one used last; nearly always the right one

    def enter(self) -> Watch | None:
        """Begin to watch the current task. Pass the result to leave() or timed_out(), exactly once.

        Raises:
            DeadlineExceededError: The caller's deadline has passed.
            NoTaskError: There is no task.
        """
        timeout = self.timeout
        if timeout is None:
            return None
        try:
            task = current_task()
        except RuntimeError:  # no loop runs
            task = None
        if task is None:
            raise no_task(self._key)
        if in_use:
            end = current()
            if end is not None:
                return self._enter_within(end, task, timeout)
        loop = task.get_loop()
        fifo = self._fifo()
        if fifo is None or fifo.loop is not loop or fifo.timeout != timeout:
            fifo = self._join(loop, timeout)
        deadline = loop.time() + timeout
        if deadline < fifo.last:
            fifo = self._armed(fifo, loop, deadline)
        watch = [task, fifo, deadline, task.cancelling(), False]
        watches = fifo.watches
        while watches and watches[0][_TASK] is None:  # leave() does not, to be written out in the wrapper
            watches.popleft()
        if len(watches) >= fifo.full:
            fifo.sweep()
        watches.append(watch)
        fifo.last = deadline
        return watch

    def leave(self, watch: Watch | None) -> None:
        """End the watch of a call that has ended by itself."""
        if watch is None:
            return
        task = watch[_TASK]
        watch[_TASK] = None
        if watch[_FIRED] is True:  # it outlived our cancellation: take that back
            task.uncancel()
        if isinstance(watch[_FIFO], _Within):
            watch[_FIFO].leave()

    def timed_out(self, watch: Watch | None, error: BaseException) -> CallTimeoutError | None:
        """Return what the caller should see instead of *error*, with which the call ended, if that was our doing."""
        if watch is None:
            return None
        task, fired = watch[_TASK], watch[_FIRED] is True
        watch[_FIRED] = False
        self.leave(watch)
        if fired and task.uncancel() <= watch[_CANCELLING] and matches(error, asyncio.CancelledError):
            make = deadline_error if watch[_FIFO].cut else CallTimeoutError
            return with_cause(make(self._key, watch[_FIFO].timeout), error)
        return None

    def _enter_within(self, end: Deadline, task: asyncio.Task[Any], timeout: float) -> Watch:
        left = end.time_left()
        if left <= 0.0:
            raise deadline_error(self._key, 0.0)
        within = _Within(timeout, end, left)
        watch = [task, within, None, task.cancelling(), _WITHIN]
        within.timer = task.get_loop().call_later(within.timeout, _fire, watch)
        return watch

    def _armed(self, fifo: Fifo, loop: asyncio.AbstractEventLoop, deadline: float) -> Fifo:
        """The FIFO for a watch that is out of the order of *fifo*, or would be the first there; its timer is set."""
        if fifo.last < inf:  # the loop's clock has gone back
            fifo = self._join(loop, fifo.timeout)
            if deadline < fifo.last < inf:  # and this is the first to see it
                fifo.sweep()
                fifo = _fifos[loop][fifo.timeout] = Fifo(loop, fifo.timeout)
                self._fifo = weakref.ref(fifo)
        if fifo.last == inf:
            fifo.arm(loop, deadline)
        return fifo

    def _join(self, loop: asyncio.AbstractEventLoop, timeout: float) -> Fifo:
        fifo = fifo_of(_fifos, loop, timeout, Fifo)
        self._fifo = weakref.ref(fifo)
        return fifo
