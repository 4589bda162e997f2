"""Thread pools: on whose threads the isolated calls of a group run.

There are two kinds. Without settings every command of the group brings as many
*places* of its own as it has slots, and nobody waits: what the pool may have in
threads is the sum, so that a command that hangs takes nothing from another, and
a call that comes from one of its threads finds a thread all the same. With
``ThreadPool(size=..., max_queue=...)`` the commands share so many places.

A job on a shared pool needs a *turn*, the right to a thread, besides its place; so
many turns as threads. A job that has none waits in the queue, and a job that ends hands
its turn to the first in it. Turns change under the lock, and so does the queue, but for a caller
who leaves: it takes its job out at any moment, so a job is had only by taking it.

Calls within calls could wait for each other for ever: all threads of a pool are at
work for calls that wait for one of its threads. Each job on a shared pool is a
*pooled call*, a scope of drivers.wait_for_graph, and so is whatever else a call may wait in
on behalf of others. Before a call waits in the queue, the pool finds out whether any of its
pooled calls can end all the same. The call that would close the ring is refused.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections import Counter, deque
from collections.abc import Callable, Collection, Set
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from ..core.bulkhead import TOKEN, Bulkhead, Slots
from ..core.locks import Lock
from ..core.plain_numbers import bare_number
from ..errors import BulkheadFullError, ConfigError, ThreadPoolClosedError, ThreadPoolFullError, ThreadUnavailableError
from .threads import IDLE_S, LAST, Threads
from .wait_for_graph import Awaited, WaitScope, can_end

if TYPE_CHECKING:
    from .workers import Job, ThreadIsolation

#: Threads of a command whose calls have no limit; what anyio and Starlette allow by default.
DEFAULT_THREADS: Final = 40
_MOST: Final = 1_000_000
_MOST_THREADS: Final = 10_000
_log = logging.getLogger("resilience")


def cleaned(cleanups: list[Callable[[], object]], context: Context) -> None:
    """Do the *cleanups* after a call that ran in *context*; what they raise is logged, and is nobody's error."""
    for clean_up in tuple(cleanups):
        try:
            context.run(clean_up)
        except BaseException:  # noqa: BLE001 - SystemExit too would end the thread, with what it holds
            _log.exception("%r, which is to clean up after isolated calls, raised", clean_up)


class PooledCall(WaitScope):
    """A call that runs on a thread of a shared *pool*."""

    __slots__ = ("pool",)

    def __init__(self, pool: WorkerPool) -> None:
        super().__init__()
        self.pool = pool


class WorkerPool(Awaited):
    """The threads for the isolated calls of one group. Every method may be called from any thread.

    Args:
        name: The group.
        size: Threads that the commands share; None: each brings its own.
        max_queue: Calls that may wait for one of these.
        idle: Seconds after which a thread without work ends.
        cleanups: See below.

    Attributes:
        cleanups: What a thread does after each call, before its slot is free; may be changed at any time.
        completed: Jobs that ended, since for ever.
        is_shared: Whether the commands share the threads.
        max_queue: Jobs that may wait for a thread.
    """

    def __init__(self, name: str, *, size: int | None = None, max_queue: int = 0, idle: float = IDLE_S,
                 cleanups: list[Callable[[], object]] | None = None) -> None:
        self.name, self.is_shared = name, size is not None
        self.cleanups: list[Callable[[], object]] = [] if cleanups is None else cleanups
        self._size, self.max_queue = size or 0, max_queue
        self._threads = Threads(name, idle=idle, then=self._next if self.is_shared else None)
        self._members: weakref.WeakSet[ThreadIsolation] = weakref.WeakSet()
        self._start()

    def _start(self) -> None:
        self._lock = Lock()  # a signal handler may find its own thread in here
        self._places = Slots(Bulkhead(min(_MOST, max(1, self._size + self.max_queue))), key=self.name)
        self._turns = Slots(Bulkhead(max(1, self._size)), key=self.name)
        self._waiting: deque[Job] = deque()
        self._pooled: list[PooledCall] = []
        self.completed = self._largest = 0
        self._closed = False

    def __repr__(self) -> str:
        whose = "shared by its commands" if self.is_shared else "each command has its own"
        queue = f", {self.waiting} of {self.max_queue} waiting" if self.max_queue else ""
        ended = ", closed" if self._closed else ""
        busy = self.admitted - self.waiting
        return f"<thread pool {self.name!r} {busy} of {self.size} threads at work{queue}, {whose}{ended}>"

    # -- what it is

    @property
    def size(self) -> int:
        """Threads at most; if each command brings its own, their sum."""
        return self._size if self.is_shared else sum(each.threads for each in self._of())

    @property
    def threads(self) -> int:
        """Number of threads that are alive."""
        return self._threads.alive

    @property
    def admitted(self) -> int:
        """Jobs running or waiting."""
        return self._places.in_flight if self.is_shared else sum(each.jobs for each in self._of())

    @property
    def waiting(self) -> int:
        """Jobs waiting for a thread."""
        return len(self._waiting)

    @property
    def largest(self) -> int:
        """Most jobs admitted at once, since for ever."""
        return self._largest if self.is_shared else max(self._largest, self._threads.most)

    def _of(self) -> list[ThreadIsolation]:
        with self._lock:
            return list(self._members)

    # -- change it

    def join(self, member: ThreadIsolation) -> None:
        """A command runs its calls here from now on, for as long as it is there."""
        with self._lock:
            self._members.add(member)

    def configure(self, size: int, max_queue: int) -> None:
        """Change the bounds of a shared pool while calls go on; what runs or waits above smaller ones goes on.

        Args:
            size: Threads at most, 1 to 10000.
            max_queue: Calls that may wait for one, 0 to 1000000.

        Raises:
            ConfigError: A number is out of range, or the pool is not shared.
        """
        if not self.is_shared:
            raise ConfigError(f"pool: the commands of group {self.name!r} bring threads of their own, as many as they "
                              "have slots; change max_concurrent, or decorate them with pool=ThreadPool(...)", "pool")
        for name, value, least, most in (("size", size, 1, _MOST_THREADS), ("max_queue", max_queue, 0, _MOST)):
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ConfigError(f"{name} must be a whole number at least {least} and at most {most}, not {value!r}",
                                  name)
        size, max_queue = bare_number(size), bare_number(max_queue)
        with self._lock:
            self._size, self.max_queue = size, max_queue
            self._places.configure(Bulkhead(min(_MOST, size + max_queue)))
            self._turns.configure(Bulkhead(size))
            self._dispatch()

    def close(self) -> None:
        """Let idle threads end; the others do after their work, and after what waits. Further calls are refused."""
        with self._lock:
            self._closed = True
            if not self._waiting or not self.is_shared:
                self._threads.close()

    def renew(self) -> None:
        """Start over in a forked child, which has none of the threads."""
        self._threads.renew()
        self._start()

    # -- for calls

    def take_place(self, taken: list[list[None]]) -> bool:
        """Reserve a place in a shared pool, noted in *taken* as by Slots.take(); False: there is none."""
        try:
            self._places.take(taken)
        except BulkheadFullError:
            return False
        return True

    def start(self, job: Job, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        """Run *job*, which has a place, on a thread.

        Raises:
            ThreadPoolClosedError: The pool is closed, or the interpreter is shutting down.
            ThreadUnavailableError: No thread is there, and the system gives none.
            ThreadPoolFullError: It would have to wait for itself.
        """
        if finalizing():  # daemon threads do not run any more
            raise ThreadPoolClosedError(job.home.key, None, "the interpreter is shutting down")
        if self.is_shared:
            self._start_in_turn(job)
            return
        if self._closed:
            raise ThreadPoolClosedError(job.home.key, None, f"the thread pool of group {self.name!r} was closed")
        try:
            for put in map(self._threads.take, LAST):  # Threads.hand_over
                job.is_handed = True
                put(job)
        except IndexError:
            if job.is_handed:
                raise  # a signal handler's
            try:
                self._threads.begin(job)
            except RuntimeError as error:
                if job.is_handed:
                    raise
                raise ThreadUnavailableError(job.home.key, None, str(error)) from error

    def _start_in_turn(self, job: Job) -> None:
        with self._lock:  # nothing may queue behind close()
            if self._closed:
                raise ThreadPoolClosedError(job.home.key, None, f"the thread pool of group {self.name!r} was closed")
            self._largest = max(self._largest, self._size + self.max_queue - len(self._places.tokens))
            if self._begin(job):
                return
            wait = self._waiting.append
            for scope in job.scopes:
                scope.awaited[job] = self
            job.waits = True
            wait(job)
            if job.scopes and not self._can_end(0) and self.withdraw(job):
                raise self.full(job.home, waits_for_itself=True)

    def _begin(self, job: Job) -> bool:
        """Hand *job* to a thread, under the lock, if there is a turn; or if there would be one, but for the thread."""
        turns = self._turns
        if turns.owed:
            turns.collect()
        sack = turns.tokens
        if not sack:
            return False
        del sack[-1]  # nobody else takes one while we hold the lock
        job.turn += (sack,)
        try:
            self._threads.hand_over(job)
        except RuntimeError as error:
            if job.is_handed:
                raise  # a signal handler's
            if turns.in_flight < 2:
                raise ThreadUnavailableError(job.home.key, None, str(error)) from error
            self._give_back(job)  # to the job that ends next, which has a thread
            return False
        return True

    def drop(self, job: Job) -> None:
        """Pass the turn of a job that could not be started on to a job that waits."""
        with self._lock:
            self.began(job)
            if job.turn:
                self._give_back(job)
                self._dispatch()

    def withdraw(self, job: Job) -> bool:
        """Take *job* out of the queue, and give back what it holds; False: it is not in there."""
        taken = job.taken
        try:
            for _ in map(self._waiting.remove, (job,)):  # no call stands between the deed and its notes
                job.waits = False
                slot, place = taken
                place += TOKEN
                slot += TOKEN
                del taken[:]
        except ValueError:
            return False
        self.began(job)
        return True

    def began(self, job: Job) -> None:
        """Note that *job* waits no longer."""
        for scope in job.scopes:
            scope.awaited.pop(job, None)

    def started(self, pooled: PooledCall) -> None:
        """Note that a job has begun to run on a thread."""
        self._pooled.append(pooled)

    def leave(self, pooled: PooledCall) -> None:
        """Note that the job of *pooled* has ended."""
        pooled.is_over = True
        if pooled in self._pooled:
            self._pooled.remove(pooled)

    def full(self, home: ThreadIsolation, *, waits_for_itself: bool = False) -> ThreadPoolFullError:
        """The error for a call of *home* that has a slot, or has given it back just now, but gets no thread."""
        if not self.is_shared:
            return ThreadPoolFullError(home.key, None, None, home.threads, 0, ((home.key, home.threads),))
        own = 0 if waits_for_itself else 1  # else it holds its slot yet
        waiting = Counter(job.home for job in self._waiting.copy())
        held = {each.key: each.in_flight - waiting[each] - (own if each is home else 0) for each in self._of()}
        most_first = sorted(((key, count) for key, count in held.items() if count > 0), key=lambda each: -each[1])
        return ThreadPoolFullError(home.key, None, self.name, self._size, self.max_queue, tuple(most_first),
                                   waits_for_itself)

    # -- turns, under the lock

    def _next(self, job: Any, rested: Callable[[], None]) -> Job | None:
        """On a thread that has run *job*: what to run with the same turn; None, after a call of *rested*: nothing."""
        with self._lock:
            successor = None
            if not self._turns.owed or not self._can_end(1):
                successor = self._first()
            if successor is not None:
                successor.turn += job.turn
                successor.waits = False
                self.began(successor)
                return successor
            rested()  # before somebody with the turn finds no thread, and makes one too many
            self._give_back(job)
            if self._closed:
                self._threads.close()
            return None

    def _first(self) -> Job | None:
        """Take the job that has waited longest out of the queue; None: its caller, who needs no lock, has taken it."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _give_back(self, job: Job) -> None:
        turn, job.turn = job.turn, []
        if turn:
            turn[0] += TOKEN
        if self._turns.owed:
            self._turns.collect()

    def _dispatch(self) -> None:
        """Let those who wait begin, as far as there are turns."""
        while self._waiting:
            turn = list[list[None]]()
            try:
                self._turns.take(turn)
            except BulkheadFullError:
                return
            job = self._first()
            if job is None:
                turn[0] += TOKEN
                return
            job.turn = turn
            try:
                self._threads.hand_over(job)
            except BaseException as error:
                if not job.is_handed:
                    self._give_back(job)
                    self._waiting.appendleft(job)
                if isinstance(error, RuntimeError):
                    return
                raise
            job.waits = False
            self.began(job)

    def _can_end(self, spare: int) -> bool:
        """Whether a thread of this pool comes free though all wait who wait now; *spare* turns are not counted."""
        return self._has_free(spare) or any(
            not pooled.awaited or can_end(pooled, (self,)) for pooled in tuple(self._pooled))

    def _has_free(self, spare: int) -> bool:
        """Whether a thread is free, or on its way; *spare* turns are not counted."""
        turns = self._turns.in_flight - spare
        return turns < self._size or len(self._pooled) < turns

    # -- in the wait-for graph

    def waits_for(self) -> Collection[Awaited]:
        """Calls on its threads, any of which frees one."""
        return tuple(self._pooled)

    def can_end(self, awaited: Collection[Awaited], ending: Set[Awaited]) -> bool:
        """See Awaited."""
        return self._has_free(0) or any(pooled in ending for pooled in awaited)
