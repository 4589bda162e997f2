"""Batches: who waits until a batch is due, and who runs it. For callers that block, and for tasks.

*Threads*: one of the callers leads. The leader waits for the others until the batch is due
or full, runs it in its own thread, and wakes them; no further thread is needed. The
leadership is a token in the batch's list: whoever takes it leads. A leader that is
interrupted, before the batch ran or while it did, puts the token back and wakes the first
of the others, which takes it. A caller that leaves while nobody leads wakes another too, so
the token always finds somebody. What an interrupted leader left undone is begun anew. A
signal handler may ask while its own thread leads: it must not wait for the code that it
interrupted, and gets a batch of its own.

*Tasks*: the event loop leads. A timer of the loop starts a task for each batch, so that a caller who is
cancelled takes nobody else along; the last one to leave cancels it, as a call
that nobody waits for would be. Each loop has batches of its own, and is known weakly.

Nobody waits in a circle: a batch that runs is closed, so what it asks for itself goes
into a later one, and of two batches only the later can be waited for by the earlier. What
else callers and batches wait for is in the wait-for graph (drivers.batch_waits).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from typing import Any

from ..core.batch import Batcher, Collapse, Place
from ..core.exception_copy import copy_for_raise, traceback_of
from ..core.exception_groups import is_a
from .batch_waits import AwaitingTicket, ScopedBatch
from .deadline_context import Patience, in_use, waited_in_vain
from .retry_layers import not_repeated
from .wait_for_graph import WaitScope, scopes

_TOKEN = (None,)


class ThreadBatch(ScopedBatch):
    """A batch of callers that block.

    Attributes:
        tokens: The leadership, unless somebody has it.
        gates: What each caller sleeps at, in order of arrival; to release it once is enough.
        leader: The thread that leads, and ``bell`` its gate.
        over: All answers are there.
        told: And everybody was woken after that.
    """

    __slots__ = ("bell", "gates", "leader", "over", "tokens", "told")

    def __init__(self, lane: Hashable, kept: Any) -> None:
        super().__init__(lane, kept)
        self.tokens: list[None] = [None]
        self.gates: dict[_Caller, threading.Lock] = {}
        self.leader: int | None = None
        self.bell: threading.Lock | None = None
        self.over = self.told = False

    def wake(self) -> None:
        """Wake everybody who sleeps."""
        over = self.over
        for gate in list(self.gates.values()):  # a caller that comes later sees what has happened before it sleeps
            _ring(gate)
        self.told = over

    def pass_on(self) -> None:
        """Wake the one who is to lead."""
        while self.gates:
            try:
                _ring(next(iter(self.gates.values())))
            except (RuntimeError, StopIteration):  # somebody came or went between the steps
                continue
            return


class _Caller(AwaitingTicket[ThreadBatch]):
    """A ticket, whether its holder has the leadership (``taken``) or had it (``led``), and its ``patience``."""

    __slots__ = ("led", "patience", "taken")

    def __init__(self, patience: Patience | None) -> None:
        super().__init__()
        self.patience = patience
        self.taken: list[list[None]] = []
        self.led = False


class ThreadBatches:
    """Puts calls of blocking callers together.

    Args:
        config: How.
        run: Called with what the batch keeps and the places; gives each its answer, or its error. What it raises
            is no Exception: an interrupt.
        keep: Called when a batch is made, with the first caller's owner; returns what the batch is to keep.
        context: The context to run a batch in, given what it keeps; one of its own.
        clock: Monotonic seconds. One with a ``sleep`` of its own (ManualClock) passes the time by that.
        name: Of what is called, for those who have no time for it.
    """

    def __init__(self, config: Collapse, run: Callable[[Any, list[Place]], None], keep: Callable[[Any], Any],
                 context: Callable[[Any], Context], clock: Callable[[], float], name: str) -> None:
        self._context = context
        self._run, self._clock, self._name, self._window = run, clock, name, config.window
        self._batcher = Batcher(config, lambda lane, owner: ThreadBatch(lane, keep(owner)))

    @property
    def batcher(self) -> Batcher[ThreadBatch]:
        """The open batches."""
        return self._batcher

    def renew(self) -> None:
        """Start over in a forked child: the leaders of the open batches are not there."""
        self._batcher.renew()

    def ask(self, lane: Hashable, key: Hashable, item: Any, owner: Any) -> Place:
        """Wait for what comes of *item*; see Batcher.join().

        Raises:
            NoTimeLeftError: The caller's deadline has passed.
            DeadlineExceededError: It passed while the caller waited. A caller who runs the batch is not cut short.
        """
        caller = _Caller(Patience.of(self._name) if in_use else None)
        try:
            if caller.scopes:
                caller.begin_wait()
            return self._ask(caller, lane, key, item, owner)
        finally:
            try:
                self._part(caller)
            except BaseException:
                self._part(caller)  # an interrupt: the steps that are done already are not done again
                raise

    def _ask(self, caller: _Caller, lane: Hashable, key: Hashable, item: Any, owner: Any) -> Place:
        me, known = threading.get_ident(), self._batcher.open_in(lane)
        if known is not None and known.leader == me:
            lane = None
        self._batcher.join(caller, lane, key, item, self._clock(), owner)
        batch, place = caller.batch, caller.place
        assert batch is not None
        assert place is not None
        gate = threading.Lock()
        gate.acquire()
        batch.gates[caller] = gate
        if batch.closed and batch.bell is not None:
            _ring(batch.bell)
        tokens, taken = batch.tokens, caller.taken
        while not batch.over:
            try:
                del tokens[-1]
                taken += (tokens,)
                batch.leader, batch.bell, caller.led = me, gate, True
            except IndexError:
                pass
            if taken:
                self._lead(batch, gate, caller.patience)
            else:
                left = -1.0 if caller.patience is None else caller.patience.left()
                if not gate.acquire(timeout=left) and caller.patience is not None:
                    _check(caller.patience, left)
        return place

    def _lead(self, batch: ThreadBatch, gate: threading.Lock, patience: Patience | None) -> None:
        while not batch.closed:
            left = min(batch.due - self._clock(), self._window)
            if left <= 0:
                break
            if patience is not None and (end := patience.left()) < left:
                if not self._rest(gate, end) and not hasattr(self._clock, "sleep"):
                    _check(patience, end)
            elif not self._rest(gate, left):
                break
        self._run_apart(batch)
        batch.over = batch.scope.is_over = True
        batch.wake()

    @not_repeated
    def _run_apart(self, batch: ThreadBatch) -> None:
        """Run *batch*, which is not the leader's own call."""
        places, context = self._batcher.take(batch), self._context(batch.kept)
        context.run(scopes.set, (batch.scope,))
        context.run(self._run, batch.kept, places)

    def _rest(self, gate: threading.Lock, seconds: float) -> bool:
        """Sleep so long. Return whether somebody rang before, or the clock should be looked at again."""
        sleep: Callable[[float], None] | None = getattr(self._clock, "sleep", None)
        if sleep is None:
            return gate.acquire(timeout=seconds)
        sleep(seconds)
        return False

    def _part(self, caller: _Caller) -> None:
        batch, taken = caller.batch, caller.taken
        if caller.scopes:
            caller.end_wait()
        if batch is None:
            return
        self._batcher.leave(caller)
        if taken:
            batch.leader = batch.bell = None
            tokens = batch.tokens
            tokens += _TOKEN
            del taken[0]
        batch.gates.pop(caller, None)
        if not batch.over and batch.tokens:
            batch.pass_on()
        elif caller.led and batch.over and not batch.told:
            batch.wake()


def _check(patience: Patience, waited: float) -> None:
    """Look at *patience* after a wait for all of it.

    Raises:
        DeadlineExceededError: It has come to an end, or its clock stands still.
    """
    if waited_in_vain(waited, patience.left()):
        raise patience.lost()


def _ring(gate: threading.Lock) -> None:
    with contextlib.suppress(RuntimeError):  # rung before
        gate.release()


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
    asked: Place

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

    def __init__(self, config: Collapse, run: Callable[[Any, list[Place]], Coroutine[Any, Any, None]],
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
