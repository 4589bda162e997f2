"""Stream timeouts: the clocks of one stream, kept by a timer of the event loop, or asked when an item comes.

An async generator is watched by one StreamWatch from its first step to its end. Each step notes the task that waits,
and since when; the item, that nobody waits. There is one timer for the whole stream, and an item does not move it: when
it fires, it looks whether the step that is under way has waited for long enough, and else sets itself for when it will
have. So a timer costs a stream whose items come in time about one look for each such time, and none while the consumer
has the item. All of it is on the loop's clock, as in async_timeouts.

Most streams end before that. So the first time is waited for by a FIFO, as in async_timeouts: one timer for all waits
of a loop that are as long. A stream gets a timer of its own where that has no order: when a wait goes on that was not
the first, when its clocks make each wait as long as they please, and when the loop's clock has gone back.

Steps need not run in one task, since a consumer may ask for each item from another. That one is cancelled which waits.
As there, only a cancellation that we sent becomes a StreamTimeoutError, an outer one stays a cancellation, and a timer
that comes late lets items that have arrived reach their stream first.

A generator runs in its consumer's thread, where nothing can end its wait. A StreamGauge asks the clocks when an item
comes, on the clock of the command: late for a stream that hangs, but not for one that drips.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from asyncio import current_task
from collections.abc import Callable
from math import inf
from typing import Any, ClassVar, Final

from ..core.exception_copy import with_cause
from ..core.exception_groups import matches
from ..core.stream_timeout import StreamMeter, StreamTimeout
from ..errors import CallTimeoutError, DeadlineExceededError, StreamTimeoutError
from .async_timeouts import GRACE, Fifo, Fifos, Watch, fifo_of, no_task
from .deadline_context import Deadline, current, deadline_error, give_back, in_use
from .local_stalls import came_late


class StreamWatch:
    """The clocks of one async generator. Its wrapper calls, or writes out, wait() and arrived() in turn, then end().

    Attributes:
        task: Waits for an item; None: nobody does.
        cancelling: What its ``cancelling()`` was when it began to wait.
        since: When it did, on the loop's clock.
        limit: Seconds that it may wait.
        has_begun: An item has come, if only to be held back.
        is_steady: Of the next item there is nothing to note but that nobody waits for it any more.
        armed: When the timer fires; infinite: there is none.
        loop: The event loop.
    """

    __slots__ = ("_cut", "_end", "_fired", "_is_awry", "_key", "_meter", "_own", "_place", "_refused", "_timer",
                 "armed", "cancelling", "has_begun", "is_steady", "limit", "loop", "since", "task")

    def __init__(self, key: str, meter: StreamMeter) -> None:
        self._key, self._meter = key, meter
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            raise no_task(key) from None
        self.task: asyncio.Task[Any] | None = None
        self.since, self.cancelling = 0.0, 0
        self.armed = inf
        self.limit = meter.limit
        self._own = 0.0
        self.has_begun = self.is_steady = False
        self._is_awry = False  # this step was cancelled by us, or runs under a deadline of its caller
        self._timer: asyncio.TimerHandle | None = None
        self._place: Watch | None = None  # in a FIFO, which has the timer
        self._fired: Callable[[int], CallTimeoutError] | None = None  # makes the error; None: we cancelled nothing
        self._cut: asyncio.TimerHandle | None = None  # ends this step when its caller's deadline passes
        self._end: Deadline | None = None  # of the step, for those it calls
        self._refused: StreamTimeoutError | DeadlineExceededError | None = None  # what wait() raised

    def wait(self) -> None:
        """The current task begins to wait for an item.

        Raises:
            CallTimeoutError: A clock has run out already, or the caller's deadline has passed.
        """
        self.task = task = current_task(self.loop)
        if task is None:
            raise no_task(self._key)
        self.cancelling = task.cancelling()
        self.since = self.loop.time()
        if self.since + self.limit < self.armed:
            self.arm()
        if in_use:
            self.hasten()

    def arrived(self, item: Any) -> None:
        """The *item* came that was waited for."""
        if self._is_awry:
            self._recover()
        self.task = None
        if self._meter.counts:
            self._own = own = self._own + self.loop.time() - self.since
            self.limit = limit = self._meter.arrived(item, own)
            if limit <= 0.0 and self._timer is not None:  # so that the next wait() looks again
                self._timer.cancel()
                self.armed = inf
        else:
            self.limit, self.has_begun, self.is_steady = self._meter.idle, True, True

    def arm(self) -> None:
        """Set the timer for the end of this wait.

        Raises:
            StreamTimeoutError: That has come already.
        """
        if self.limit <= 0.0:
            self.task = None
            self._refused = self._late(0)
            raise self._refused
        if self._place is not None or self._timer is not None:
            self._disarm()
        limit = self.limit
        due = self.since + limit
        if self._meter.counts:  # what time is left is different each time
            self._set(due)
            return
        latest = _Waits.latest
        waits = None if latest is None else latest()
        if waits is None or waits.timeout != limit or waits.loop is not self.loop:
            waits = fifo_of(_waits, self.loop, limit, _Waits)
            _Waits.latest = weakref.ref(waits)
        if due < waits.last:
            if waits.last < inf:  # the loop's clock has gone back
                self._set(due)
                return
            waits.arm(self.loop, due)
        self._place = place = [self, waits, due]
        waits.append(place)
        self.armed = due

    def hasten(self) -> None:
        """Put this wait under the deadline of its caller, if that has one.

        Raises:
            DeadlineExceededError: It has passed.
        """
        end = current()
        if end is None:
            return
        left = end.time_left()
        if left <= 0.0:
            self.task = None
            self._refused = deadline_error(self._key, 0.0)
            raise self._refused
        self._is_awry, self.is_steady = True, False
        if left < self.limit:
            self._cut = self.loop.call_later(left, self._cut_short, left)
        else:
            self._end = end.sooner(self.limit)

    def _recover(self) -> None:
        """The step has ended by itself: take our cancellation back, and what hasten() did."""
        self._is_awry = False
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        if self._end is not None:
            give_back(self._end)
            self._end = None
        if self._fired is not None:
            self._fired = None
            assert self.task is not None
            self.task.uncancel()

    def end(self) -> None:
        """The stream has ended by itself."""
        if self._is_awry:
            self._recover()
        self.task = None
        if self._timer is not None:
            self._disarm()
        elif self._place is not None:
            self._place[0] = None

    def _disarm(self) -> None:
        if self._place is not None:
            self._place[0] = None
            self._place = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def timed_out(self, error: BaseException, items: int) -> CallTimeoutError | None:
        """The stream ended with *error*: what the consumer should see instead of it, if that was our doing.

        Args:
            error: What came out of the step.
            items: How many items the consumer was given.
        """
        if self._refused is not None:
            self._refused.items, self._refused = items, None
        task, fired, self._fired = self.task, self._fired, None
        self.end()
        if fired is not None and task is not None and task.uncancel() <= self.cancelling \
                and matches(error, asyncio.CancelledError):
            return with_cause(fired(items), error)
        return None

    def _set(self, due: float) -> None:
        self._timer = self.loop.call_at(due, self.look)
        self.armed = due

    def look(self) -> None:
        """The time has come that the timer was set for."""
        due, self.armed = self.armed, inf
        self._timer = None
        if self.task is None or self._fired is not None or due == inf:  # with the consumer, which sets the timer anew
            return
        if self.since + self.limit > due:
            self._set(self.since + self.limit)
            return
        if came_late(self.loop.time() - due):
            self._late_after(GRACE)
        else:
            self._fire(self._late)

    def _late_after(self, turns: int) -> None:
        """End the stream as late, but give an item that lies in a socket some *turns* of the loop to arrive first."""
        if self.task is None or self._fired is not None or self.armed < inf \
                or self.since + self.limit > self.loop.time():  # it has arrived
            return
        if turns:
            self.loop.call_soon(self._late_after, turns - 1)
        else:
            self._fire(self._late)

    def _cut_short(self, waited: float) -> None:
        if self.task is not None and self._fired is None:
            self._fire(functools.partial(_cut, self._key, waited))

    def _fire(self, make: Callable[[int], CallTimeoutError]) -> None:
        assert self.task is not None
        self._fired, self._is_awry, self.is_steady = make, True, False
        self.task.cancel()

    def _late(self, items: int) -> StreamTimeoutError:
        return _late(self._key, self._meter, items, self.has_begun)


def _late(key: str, meter: StreamMeter, items: int, has_begun: bool) -> StreamTimeoutError:
    clock, seconds = meter.ran_out(has_begun)
    return StreamTimeoutError(key, seconds, clock, items, meter.missed)


def _cut(key: str, waited: float, items: int) -> DeadlineExceededError:
    error = deadline_error(key, waited)
    error.items = items
    return error


class _Waits(Fifo):
    """The waits of a loop that end the same time after they began, in that order: one timer for all of them.

    A place in it is a Watch: the StreamWatch (None: it waits for the timer no more), the FIFO, and when the wait ends.

    Attributes:
        latest: The one used last, by any stream; nearly always the right one.
    """

    __slots__ = ()
    latest: ClassVar[weakref.ref[_Waits] | None] = None

    def append(self, place: Watch) -> None:
        """Wake the stream of a *place* when its wait ends, which is not before ``last``; the timer is set."""
        places = self.watches
        while places and places[0][0] is None:
            places.popleft()
        if len(places) >= self.full:
            self.sweep()
        places.append(place)
        self.last = place[2]

    def due(self, loop: asyncio.AbstractEventLoop, timed: float, turns: int = 0) -> None:
        """Tell the streams whose time has come; set the timer for the next."""
        now, places = loop.time(), self.watches
        self.last = inf  # so that an interrupt in here is made good by the next stream
        while places:
            watch, _, due = places[0]
            if watch is not None:
                if due > now:
                    self.arm(loop, due)
                    self.last = places[-1][2]
                    return
                watch.look()
            places.popleft()


_waits: Final[Fifos[_Waits]] = weakref.WeakKeyDictionary()


class StreamGauge:
    """The clocks of one generator, asked when an item comes."""

    __slots__ = ("_ends", "_key", "_meter")

    def __init__(self, key: str, policy: StreamTimeout) -> None:
        self._key, self._meter = key, StreamMeter(policy)
        self._ends = self._meter.limit

    def arrived(self, item: Any, own: float, items: int) -> None:
        """Hear that *item* came, after *items* others, when the stream's own time was *own* seconds.

        Raises:
            StreamTimeoutError: A clock had run out by then.
        """
        if own >= self._ends:
            raise _late(self._key, self._meter, items, items > 0)
        self._ends = own + self._meter.arrived(item, own)


Meaning = Callable[[StreamTimeout], StreamTimeout]


class StreamTimeouts:
    """The stream timeout of one command.

    Attributes:
        policy: In force for streams that begin; None: there is none.
        gauges_generators: Some of its functions are plain generators.
    """

    __slots__ = ("_key", "gauges_generators", "policy")

    def __init__(self, key: str, policy: StreamTimeout | None) -> None:
        self._key, self.policy, self.gauges_generators = key, policy, False

    def watch(self, meant: Meaning | None = None) -> StreamWatch | None:
        """The clocks of an async generator that begins; *meant* says what the policy means to it."""
        policy = self.policy
        return None if policy is None else StreamWatch(self._key, StreamMeter(meant(policy) if meant else policy))

    def gauge(self, meant: Meaning | None = None) -> StreamGauge | None:
        """The clocks of a generator that begins; *meant* says what the policy means to it."""
        policy = self.policy
        return None if policy is None else StreamGauge(self._key, meant(policy) if meant else policy)


@functools.lru_cache(maxsize=64)
def for_each_item(seconds: float) -> StreamTimeout:
    """What a timeout of so many *seconds* means to an async generator: it bounds the wait for each item."""
    return StreamTimeout(between_items=seconds)


@functools.lru_cache(maxsize=64)
def meter_of_each_item(seconds: float) -> StreamMeter:
    """The meter of that, which all streams share: it notes nothing."""
    return StreamMeter(for_each_item(seconds))
