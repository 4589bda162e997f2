"""Task batches: callers are tasks, and the event loop leads. For threads see drivers.thread_batches.

A timer of the loop starts a task for each batch, so that a caller who is
cancelled takes nobody else along; the last one to leave cancels it, as a call
that nobody waits for would be. Each loop has batches of its own, and is known weakly.

Nobody waits in a circle, as there.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import weakref
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from typing import Any

from ..core.batch import Batcher, BatchPlace, Collapse
from ..core.exception_copy import copy_for_raise, traceback_of
from ..core.exception_groups import is_a
from .batch_waits import AwaitingTicket, ScopedBatch
from .deadline_context import Patience, in_use
from .wait_for_graph import WaitScope, scopes


class TaskBatch(ScopedBatch):
    """A batch of tasks of one loop.

    Attributes:
        waiters: What each caller waits for.
        timer: Starts it when it is due.
        task: Runs it.
    """

    __slots__ = ("task", "timer", "waiters")

    def __init__(self, lane: Hashable, kept: Any) -> None:
        super().__init__(lane, kept)
        self.waiters: list[asyncio.Future[None]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None

    def drop(self) -> None:
        """Cancel the batch: nobody waits for it any more."""
        if self.timer is not None:
            self.timer.cancel()
        if self.task is not None:
            self.task.cancel()


class _Home:
    """The batches of one loop. It refers to the loop only weakly, and through the tasks that run."""

    __slots__ = ("batcher", "loop", "tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Collapse, keep: Callable[[Any], Any]) -> None:
        self.loop = weakref.ref(loop)
        self.batcher = Batcher(config, lambda lane, owner: TaskBatch(lane, keep(owner)))
        self.tasks: set[asyncio.Task[None]] = set()  # a loop refers to its tasks only weakly


class Waiting(AwaitingTicket[TaskBatch]):
    """A task's ticket, what it ``asked`` for, and the ``waiter`` that it is to await."""

    __slots__ = ("asked", "home", "loop", "waiter")
    asked: BatchPlace

    def __init__(self, loop: asyncio.AbstractEventLoop, home: _Home) -> None:
        self.batch = self.place = None
        self.scopes = scopes.get()
        self.loop, self.home = loop, home
        self.waiter: asyncio.Future[None] = loop.create_future()


class TaskBatches:
    """Puts calls of tasks together.

    Args:
        config: How.
        run: As for ThreadBatches, but a coroutine function.
        keep: As for ThreadBatches.
        context: As for ThreadBatches.
        name: As for ThreadBatches.
    """

    def __init__(self, config: Collapse, run: Callable[[Any, list[BatchPlace]], Coroutine[Any, Any, None]],
                 keep: Callable[[Any], Any], context: Callable[[Any], Context], name: str) -> None:
        self._config, self._run, self._keep, self._context, self._name = config, run, keep, context, name
        self.renew()

    def renew(self) -> None:
        """Start over in a forked child."""
        self._homes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Home] = weakref.WeakKeyDictionary()
        self._latest: _Home | None = None  # nearly always the right one

    def enter(self, lane: Hashable, key: Hashable, item: Any, owner: Any) -> Waiting:
        """Ask for *item*; see Batcher.join(). If the wait for it does not end by itself, leave() is to be called.

        If it does, and the caller has scopes, end_wait() of what is returned is to be called.

        Raises:
            NoTimeLeftError: The caller's deadline has passed. If that comes later, the wait ends with a
                DeadlineExceededError.
        """
        patience = Patience.of(self._name) if in_use else None
        loop = asyncio.get_running_loop()
        home = self._latest
        if home is None or home.loop() is not loop:
            home = self._move_in(loop)
        waiting = Waiting(loop, home)
        try:
            if waiting.scopes:
                waiting.begin_wait()
            now = loop.time()
            home.batcher.join(waiting, lane, key, item, now, owner)
            batch, place = waiting.batch, waiting.place
            assert batch is not None
            assert place is not None
            waiting.asked = place
            batch.waiters.append(waiting.waiter)
            if patience is not None:
                timer = loop.call_later(patience.given, _lose, waiting.waiter, patience)
                waiting.waiter.add_done_callback(lambda _: timer.cancel())
            if batch.closed:
                self._start(loop, home, batch)
            elif batch.timer is None or batch.due > now + self._config.window:  # the loop's clock may have gone back
                if batch.timer is not None:
                    batch.timer.cancel()
                    batch.due = now + self._config.window
                batch.timer = loop.call_at(batch.due, self._start, loop, home, batch)
        except BaseException:
            self.leave(waiting)
            raise
        return waiting

    def leave(self, waiting: Waiting) -> None:
        """Wait no longer."""
        waiting.end_wait()
        if waiting.waiter.done() and not waiting.waiter.cancelled():
            waiting.waiter.exception()  # seen, even by one who was cancelled as its time ran out
        if not waiting.home.batcher.leave(waiting) and waiting.batch is not None:
            _drop(waiting.loop, waiting.batch)

    def _start(self, loop: asyncio.AbstractEventLoop, home: _Home, batch: TaskBatch) -> None:
        if batch.begun:
            return
        if batch.timer is not None:
            batch.timer.cancel()
            batch.timer = None
        places = home.batcher.take(batch)
        if not places:
            return
        context = self._context(batch.kept)
        context.run(scopes.set, (batch.scope,))
        task = batch.task = context.run(loop.create_task, self._run(batch.kept, places))
        home.tasks.add(task)
        task.add_done_callback(home.tasks.discard)
        task.add_done_callback(functools.partial(_tell, batch.scope, batch.waiters))

    def _move_in(self, loop: asyncio.AbstractEventLoop) -> _Home:
        """A home for *loop*; those of loops that are closed go, for what never ended there would keep them."""
        home = self._homes.get(loop)
        if home is None:
            for ref in self._homes.keyrefs():
                old = ref()
                if old is not None and old.is_closed():
                    self._homes.pop(old, None)
            home = self._homes.setdefault(loop, _Home(loop, self._config, self._keep))
        self._latest = home
        return home


def _lose(waiter: asyncio.Future[None], patience: Patience) -> None:
    if not waiter.done():
        waiter.set_exception(patience.lost())


def _tell(scope: WaitScope, waiters: list[asyncio.Future[None]], task: asyncio.Task[None]) -> None:
    """Wake the callers: their answers are there, or the task was ended, and so are they, as it was."""
    scope.is_over = True
    error = None if task.cancelled() else task.exception()
    cancelled = task.cancelled() or (  # these have ended the loop
        error is not None and is_a(error, (KeyboardInterrupt, SystemExit)))
    for waiter in waiters:
        if not waiter.done():
            if cancelled:
                waiter.cancel()
            elif error is not None:  # no Exception, or it would be the answers
                waiter.set_exception(copy_for_raise(error, traceback_of(error)))
            else:
                waiter.set_result(None)


def _drop(loop: asyncio.AbstractEventLoop, batch: TaskBatch) -> None:
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        batch.drop()
    else:  # the garbage collector closed the last caller's coroutine, wherever it was
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(batch.drop)
