"""Hedged streams: several attempts at once to get the first item of an async generator; the first to get it goes on.

The first attempt runs where it would without a hedge: its steps are the consumer's own. A further attempt is a task
that runs all steps of its generator, from the first to its closing, so that what a generator keeps over a ``yield``
stays in one task: cancel scopes, ``asyncio.timeout``, context variables. It makes a step when it is asked to, and hands
over what came of it. Whoever cancels the consumer while that waits for a step, cancels the step; what the generator
makes of it, the consumer gets.

An item decides the race, and so does the end of a stream without any. The others are cancelled, and waited for: when
the consumer has the first item, their generators are closed and their slots are free. If a further attempt wins, the
generator of the first is closed, and the further one's slot is given back: the call has one of its own.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from ..core.exception_copy import traceback_of, with_traceback
from ..core.exception_groups import is_a, is_interrupt, matches
from .hedged_attempts import Grip, Starter, TaskRace
from .stream_leases import close, own

Make = Callable[..., AsyncGenerator[Any, Any]]


class StreamAttempt:
    """A further attempt: a generator, and the task that runs it. What else it has, it has as the generator would.

    Attributes:
        task: Runs all its steps.
        taken: The slot that it takes.
        first: What came of the first.
        ag_running: Never so: whoever asks for a step waits until it has ended.
    """

    __slots__ = ("_answer", "_is_left", "_request", "first", "taken", "task")
    ag_running = False
    task: asyncio.Task[None]

    def __init__(self, loop: asyncio.AbstractEventLoop, taken: Grip) -> None:
        self.taken = taken
        self._answer: asyncio.Future[Any] = loop.create_future()  # of the step that was asked for last
        self._request: asyncio.Future[tuple[str, tuple[Any, ...]]] = loop.create_future()  # the next
        self._is_left = False
        self.first = self._answer

    def begin(self, make: Callable[[], AsyncGenerator[Any, Any]], ended: Callable[[], object]) -> asyncio.Task[None]:
        """Start the task; *ended* is called when the generator is closed."""
        self.task = task = self.first.get_loop().create_task(self._run(make, ended))
        return task

    def __aiter__(self) -> StreamAttempt:
        return self

    def __anext__(self) -> Any:
        return self._ask("__anext__")

    def asend(self, value: Any) -> Any:
        return self._ask("asend", value)

    def athrow(self, error: BaseException) -> Any:
        return self._ask("athrow", error)

    async def aclose(self) -> None:
        """Close the generator, in its task, which has ended then."""
        if self._is_at_rest():
            await self._ask("aclose")
        elif not self.task.done():  # an interrupt left it in a step
            self.leave()
        if not self.task.done():
            await asyncio.wait((self.task,))

    def leave(self) -> None:
        """Cancel it; nobody asks for another step, so its generator is closed even if that goes on all the same."""
        self._is_left = True
        self.task.cancel()

    def _is_at_rest(self) -> bool:
        return self._answer.done() and not self._request.done() and not self.task.done()

    async def _ask(self, step: str, *args: Any) -> Any:
        task, cancellations = self.task, 0
        if not self._is_at_rest():  # it was cancelled meanwhile, as at the end of asyncio.run()
            raise asyncio.CancelledError
        self._answer = answer = task.get_loop().create_future()
        self._request.set_result((step, args))
        args = ()
        while not answer.done():
            if task.done():  # an interrupt hit it
                raise asyncio.CancelledError
            try:
                await asyncio.wait((answer, task), return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError as error:
                if answer.done():  # the generator waits for its next step, and whoever asked for this closes it
                    answer.exception()
                    raise
                cancellations += task.cancel(*error.args)
        for _ in range(cancellations):  # the generator may go on all the same
            task.uncancel()
        try:
            return answer.result()
        finally:
            del answer  # no cycle through this frame

    async def _run(self, make: Callable[[], AsyncGenerator[Any, Any]], ended: Callable[[], object]) -> None:
        source: Any = None
        step, args = "__anext__", ()
        try:
            source = own(make())
            while step != "aclose":
                self._answer.set_result(await getattr(source, step)(*args))
                if self._is_left:  # a loser that goes on all the same
                    return
                self._request = asyncio.get_running_loop().create_future()
                step, args = await self._request
            await source.aclose()
            self._answer.set_result(None)
        except BaseException as error:
            args = ()
            self._fail(error)
            if is_interrupt(error) and not is_a(error, asyncio.CancelledError):
                raise
        finally:
            try:
                if source is not None:  # else we were dropped in the midst of a step
                    await close(source)
            finally:
                ended()

    def _fail(self, error: BaseException) -> None:
        """Hand *error* to who waits for the last step, if anybody does, without our frame, which holds them."""
        if not self._answer.done() and not self._answer.get_loop().is_closed():
            trace = traceback_of(error)
            self._answer.set_exception(with_traceback(error, trace and trace.tb_next))
            self._answer.exception()  # nobody may look any more


class StreamRace(TaskRace):
    """The race of one async generator for its first item."""

    __slots__ = ("_attempts", "_chosen")

    def __init__(self, starter: Starter, take: Callable[[Grip], object], clock: Callable[[], float], make: Make,
                 args: tuple[Any, ...], kwargs: Mapping[str, Any], after: float) -> None:
        self._attempts: list[StreamAttempt] = []
        self._chosen: StreamAttempt | None = None
        super().__init__(starter, take, clock, make, args, kwargs, after)  # type: ignore[arg-type]

    async def lost(self, error: BaseException) -> bool:
        """As that of a call; what the winner has to give up is given up then."""
        if is_interrupt(error) and not matches(error, asyncio.CancelledError):
            self.forsake()
            return False
        ours = self.primary_cancelled and self._task.uncancel() <= self._cancelling
        try:
            if not is_interrupt(error) or ours:
                self._chosen = await self._decided()
        finally:
            await self._clear()
        return self._chosen is not None

    def result(self) -> StreamAttempt:
        """The attempt that has won. The first one is closed, so that there is a slot too many."""
        winner = self._chosen
        assert winner is not None
        self._release(winner.taken)
        return winner

    async def abandon(self) -> None:
        """Close all further attempts, however far the race is."""
        self.stop()
        self.further = [each.task for each in self._attempts]
        await self._clear()

    def forsake(self) -> None:
        """As that of a call."""
        if not self._loop.is_closed():
            for attempt in self._attempts:
                if attempt.task in self.further:
                    attempt.leave()

    async def _decided(self) -> StreamAttempt | None:
        """Wait until an attempt has won, which is none of the further ones then, or all have failed."""
        while True:
            for attempt in self._attempts:
                if attempt.first.done() and _has_won(attempt.first):
                    self.further.remove(attempt.task)
                    return attempt
            pending = [each.first for each in self._attempts if not each.first.done()]
            if not pending:
                return None
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)

    def _begin(self, taken: Grip) -> asyncio.Task[Any]:
        attempt = StreamAttempt(self._loop, taken)
        attempt.first.add_done_callback(self._came)
        task = attempt.begin(functools.partial(self._fn, *self._args, **self._kwargs),  # type: ignore[arg-type]
                             functools.partial(self._release, taken))
        self._attempts.append(attempt)
        return task

    def _came(self, first: asyncio.Future[Any]) -> None:
        if not _has_won(first):
            self._failed = True
        elif self._inline and not self.primary_cancelled:
            self.primary_cancelled = True
            self._task.cancel()

    def _ended(self, task: asyncio.Task[Any], taken: Grip) -> None:
        self._release(taken)  # of one that was cancelled before its first step
        for attempt in self._attempts:
            if attempt.task is task and not attempt.first.done():
                attempt.first.cancel()
        if not task.cancelled():
            task.exception()


def _has_won(first: asyncio.Future[Any]) -> bool:
    if first.cancelled():
        return False
    error = first.exception()
    return error is None or is_a(error, StopAsyncIteration)


class HedgedStream:
    """What a wrapper uses of an async generator, with a race for its first item.

    Args:
        source: The generator of the first attempt.
        race: Begins the race, in the consumer's task.
        racing: What is around it.
    """

    __slots__ = ("_begin", "_race", "_racing", "_source")

    def __init__(self, source: AsyncGenerator[Any, Any], race: Callable[[], StreamRace],
                 racing: Callable[[], AbstractContextManager[object]]) -> None:
        self._racing = racing
        self._source: Any = own(source)  # that of the attempt that goes on
        self._begin: Callable[[], StreamRace] | None = race  # None: the first item was asked for
        self._race: StreamRace | None = None  # undecided

    @property
    def ag_running(self) -> bool:
        running: bool = self._source.ag_running
        return running

    def __aiter__(self) -> HedgedStream:
        return self

    def __anext__(self) -> Any:
        return self._source.__anext__() if self._begin is None else self._first()

    def asend(self, value: Any) -> Any:
        return self._source.asend(value)

    def athrow(self, error: BaseException) -> Any:
        return self._source.athrow(error)

    async def aclose(self) -> None:
        """Close whatever attempt there is."""
        race, self._race = self._race, None
        try:
            if race is not None:
                await race.abandon()
        finally:
            await self._source.aclose()

    async def _first(self) -> Any:
        with self._racing():
            return await self._raced()

    async def _raced(self) -> Any:
        begin, self._begin = self._begin, None
        assert begin is not None
        self._race = race = begin()
        try:
            item = await self._source.__anext__()
        except StopAsyncIteration:
            race.stop()
            await race.won()
            self._race = None
            raise
        except BaseException as error:
            race.stop()
            if not await race.lost(error):
                self._race = None
                raise
            await self._source.aclose()
            self._source, self._race = race.result(), None
        else:
            race.stop()
            if race.further:
                await race.won()
            self._race = None
            return item
        return self._source.first.result()
