"""Hedged attempts: several attempts of one call at once, of which the first to succeed is the answer.

Of a coroutine the first attempt runs where it would without a hedge, in the
caller's own task. Most calls end before the delay, and pay for a timer only. The
further attempts are tasks. If one of them succeeds first, the caller's task is
cancelled as a timeout would cancel it, and the count that Task.cancelling keeps
tells our cancellation from somebody else's.

The losers are cancelled and waited for: when the call returns nothing of it is
under way any more, as in a nursery. One that refuses to be cancelled holds up
the answer, as it would hold up a timeout.

Of a plain function on worker threads each attempt is a job, and the caller waits
for the first end. Losers cannot be cancelled; the caller leaves them, as a
timeout does, and they hold their slots until they end.

An attempt that fails while others run decides nothing, but no further one
begins. If all fail, the first attempt's error is the call's.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Protocol

from ..core.bulkhead import TOKEN
from ..core.exception_groups import is_interrupt, matches
from ..errors import BulkheadFullError, CallTimeoutError
from .async_timeouts import GRACE, no_task
from .deadline_context import deadline_error
from .local_stalls import came_late
from .system_clock import waited_clock
from .workers import Job, ThreadIsolation

Grip = list[list[None]]


class Starter(Protocol):
    """Says when and whether a further attempt begins."""

    @property
    def key(self) -> str:
        """The command's."""
        ...

    def launch_after(self, n: int, now: float) -> float | None:
        """How long after the *n*-th attempt the next may begin; None: never."""
        ...

    def afford(self, now: float) -> bool:
        """Whether the circuit and the budget allow one more; if so it is paid for."""
        ...

    def refund(self) -> None:
        """Pay back what afford() paid: the attempt could not begin after all."""
        ...

    def began(self, n: int, after: float, now: float) -> None:
        """The *n*-th attempt has begun."""
        ...

    def freed(self) -> None:
        """Give the slot that a further attempt gave back to whoever waits for one."""
        ...


class TaskRace:
    """The race of one call of a coroutine function; on one loop, in one task.

    Attributes:
        further: The further attempts.
        primary_cancelled: We have cancelled the first attempt.
    """

    __slots__ = (
        "_args",
        "_cancelling",
        "_clock",
        "_failed",
        "_fn",
        "_inline",
        "_kwargs",
        "_loop",
        "_starter",
        "_take",
        "_task",
        "_timer",
        "further",
        "primary_cancelled",
    )

    def __init__(self, starter: Starter, take: Callable[[Grip], object], clock: Callable[[], float],
                 fn: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...], kwargs: Mapping[str, Any],
                 after: float) -> None:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no loop runs
            task = None
        if task is None:
            raise no_task(starter.key, "hedge")
        self._starter, self._take, self._clock = starter, take, clock
        self._fn, self._args, self._kwargs = fn, args, kwargs
        self._task, self._loop, self._cancelling = task, task.get_loop(), task.cancelling()
        self._inline = True  # the first is under way
        self._failed = self.primary_cancelled = False
        self.further: list[asyncio.Task[Any]] = []
        self._timer: asyncio.Handle | None = None
        self._wait(after)

    def stop(self) -> None:
        """The first attempt has ended: no other begins any more."""
        self._inline = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def won(self) -> None:
        """The first attempt has succeeded, whatever the others did."""
        if self.primary_cancelled:
            self._task.uncancel()
        await self._clear()

    async def lost(self, error: BaseException) -> bool:
        """Note that the first attempt ended with *error*. Return whether result() has the answer of another.

        Raises:
            CancelledError: Somebody else cancelled the task while the others were waited for.
        """
        if is_interrupt(error) and not matches(error, asyncio.CancelledError):
            self.forsake()
            return False
        ours = self.primary_cancelled and self._task.uncancel() <= self._cancelling
        try:
            if is_interrupt(error) and not ours:
                return False
            while self._best() is None:
                pending = [attempt for attempt in self.further if not attempt.done()]
                if not pending:
                    return False
                await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._clear()
        return True

    def forsake(self) -> None:
        """Cancel the others: the coroutine is being closed, or the process is, and nothing can be awaited."""
        if self._loop.is_closed():  # nothing runs there any more, and the others go as we do
            return
        for attempt in self.further:
            attempt.cancel()

    def result(self) -> Any:
        """What the first of the others to succeed returned."""
        best = self._best()
        assert best is not None
        return best.result()

    def _wait(self, after: float) -> None:
        """Begin a further attempt after so many seconds."""
        timed = self._loop.time() + after
        self._timer = self._loop.call_at(timed, self._launch, after, timed)

    def _launch(self, after: float, timed: float, turns: int = GRACE) -> None:
        """The delay is over: begin a further attempt, if that is allowed now.

        After a stall of the loop, an answer that has come meanwhile is taken first; see async_timeouts.Fifo.due().
        """
        if turns and (turns < GRACE or came_late(self._loop.time() - timed)):
            self._timer = self._loop.call_soon(self._launch, after, timed, turns - 1)
            return
        now, starter = self._clock(), self._starter
        self._timer = None
        if self._failed or not starter.afford(now):
            return
        taken: Grip = []
        try:
            self._take(taken)
            attempt = self._begin(taken)
            attempt.add_done_callback(lambda task: self._ended(task, taken))
        except BulkheadFullError:
            starter.refund()
            return
        except BaseException:
            self._release(taken)
            raise
        self.further.append(attempt)
        n = len(self.further) + 1
        then = starter.launch_after(n, now)
        if then is not None:
            self._wait(then)
        starter.began(n, after, now)

    def _begin(self, taken: Grip) -> asyncio.Task[Any]:
        return self._loop.create_task(self._attempt(taken))

    async def _attempt(self, taken: Grip) -> Any:
        try:
            return await self._fn(*self._args, **self._kwargs)
        finally:
            self._release(taken)

    def _ended(self, task: asyncio.Task[Any], taken: Grip) -> None:
        self._release(taken)  # of one that was cancelled before its first step
        if task.cancelled():
            return
        if task.exception() is not None:
            self._failed = True
        elif self._inline and not self.primary_cancelled:
            self.primary_cancelled = True
            self._task.cancel()

    def _release(self, taken: Grip) -> None:
        if taken:
            release(taken)
            self._starter.freed()

    def _best(self) -> asyncio.Task[Any] | None:
        return next((each for each in self.further
                     if each.done() and not each.cancelled() and each.exception() is None), None)

    async def _clear(self) -> None:
        """Cancel the others and wait until they have ended, even if we are cancelled meanwhile."""
        cancelled: asyncio.CancelledError | None = None
        self.forsake()
        while pending := [attempt for attempt in self.further if not attempt.done()]:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled  # no cycle through this frame


def release(taken: Grip) -> None:
    """Give the slot back, once."""
    if taken:
        sack = taken[0]
        del taken[0]
        sack += TOKEN


class WaitLimit(NamedTuple):
    """How long a caller waits: *seconds*, or for ever (None); *cut* short by its own caller's deadline."""

    seconds: float | None
    cut: bool

    def error(self, key: str) -> CallTimeoutError:
        """The error to raise when the time is up."""
        return (deadline_error if self.cut else CallTimeoutError)(key, self.seconds or 0.0)


class Schedule:
    """When a race begins its next attempt, if its caller waits in a thread. Of that thread.

    Attributes:
        due: When it is time for that, on the clock of waits; None: there is to be none.
    """

    __slots__ = ("_after", "_clock", "_n", "_starter", "due")

    def __init__(self, starter: Starter, clock: Callable[[], float], after: float, due: float) -> None:
        """The first attempt has begun; the next is *due* then, *after* seconds."""
        self._starter, self._clock, self._after, self._n = starter, clock, after, 1
        self.due: float | None = due

    def stop(self) -> None:
        """Begin no further attempt."""
        self.due = None

    def launch(self, begin: Callable[[], object]) -> None:
        """It is time: *begin* a further attempt now, if that is allowed and there is room for it."""
        now, starter = self._clock(), self._starter
        self.due = None
        if not starter.afford(now):
            return
        try:
            begin()
        except BulkheadFullError:
            starter.refund()
            return
        self._n += 1
        after, then = self._after, starter.launch_after(self._n, now)
        if then is not None:
            self._after, self.due = then, waited_clock() + then
        starter.began(self._n, after, now)


class JobRace:
    """The race of one isolated call, whose first attempt has been out for *after* seconds; of one thread."""

    __slots__ = ("_alive", "_clock", "_ends", "_failed", "_first", "_isolation", "_limit", "_over",
                 "_schedule")

    def __init__(self, starter: Starter, isolation: ThreadIsolation, clock: Callable[[], float], first: Job,
                 after: float, limit: WaitLimit) -> None:
        self._isolation, self._clock, self._first = isolation, clock, first
        self._alive = [first]  # attempts that have neither ended nor been left
        self._failed: list[Job] = []
        now = waited_clock()
        self._schedule = Schedule(starter, clock, after, now)
        self._limit = limit
        self._over = None if limit.seconds is None else now - after + limit.seconds
        self._ends: queue.SimpleQueue[Job] = queue.SimpleQueue()
        first.tell(self._ends.put)

    def result(self) -> Any:
        """What the first attempt to succeed returned.

        Raises:
            CallTimeoutError: None did within the timeout; DeadlineExceededError: within the caller's deadline.
            BaseException: What the first attempt raised, if all failed.
        """
        try:
            while self._alive:
                job = self._next()
                if job is None:
                    due = self._schedule.due
                    if due is not None and waited_clock() >= due:
                        self._schedule.launch(self._begin)
                    continue
                self._alive.remove(job)
                if job.error is None:
                    return job.outcome()
                self._failed.append(job)
                self._schedule.stop()
        finally:
            for each in self._alive:
                each.leave()
        if self._first not in self._failed:
            raise self._limit.error(self._isolation.key)
        return self._first.outcome()

    def _next(self) -> Job | None:
        """The next attempt to end; None: the time of something has come, or it ended twice."""
        left = [each - waited_clock() for each in (self._schedule.due, self._over) if each is not None]
        try:
            job = self._ends.get(timeout=max(0.0, min(left)) if left else None)
        except queue.Empty:
            if self._over is not None and waited_clock() >= self._over:
                self._alive = [each for each in self._alive if not each.leave()]
                self._over = None  # an attempt that could not be left has ended
                self._schedule.stop()
            return None
        return job if job in self._alive else None

    def _begin(self) -> None:
        job = self._isolation.again(self._first, self._clock())
        self._alive.append(job)
        job.tell(self._ends.put)
