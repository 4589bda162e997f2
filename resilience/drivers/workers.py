"""Thread isolation: calls on threads of a pool, whose callers may walk away.

A thread cannot be killed. When the caller's time is up it leaves; the worker
runs on, and the bulkhead slot and the pool's place stay taken until the worker
*ends*, so that the bound is a bound on work, not on patience. Such calls are
counted as abandoned.

A job whose caller left before a worker took it never starts, and if it waits for
a thread it leaves the queue at once. Who starts a job, and who ends it, is
settled by taking the one token of a list, which is atomic: either the worker or the
leaving caller gets it.

Who gives back a job's slot and place: the worker, from the moment a thread has
got the job or it waits for one; until then the caller, and also if the job leaves
the queue. A signal handler's exception may strike the caller anywhere after a
call, so the notes are made next to their deeds (core.bulkhead).

Workers are daemon threads: a hung one does not keep the interpreter alive, which
is why this is not concurrent.futures.ThreadPoolExecutor, whose exit hook joins
its threads. Each job runs in a copy of its caller's context.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from typing import Any

from ..core.bulkhead import TOKEN, Bulkhead, Slots
from ..errors import BulkheadFullError, CallTimeoutError
from .admission_waiter import AdmissionWaiter, runs_jobs
from .deadline_context import deadline_error, in_use, shorten, shortened
from .local_stalls import came_late
from .pools import DEFAULT_THREADS, PooledCall, WorkerPool, cleaned
from .system_clock import waited_clock
from .thread_notes import annotate
from .wait_for_graph import living, scopes

__all__ = ["DEFAULT_THREADS", "Job", "ThreadIsolation", "WorkerPool"]


class Job:
    """One call on a worker.

    Attributes:
        home: Whose call it is.
        taken: The slot and the place that it holds, as sacks.
        turn: The turn that it has on a shared pool.
        pooled: What it is there while it runs; None: the pool is not shared.
        scopes: Those that the call comes from, if the pool is shared.
        is_handed: A thread has it, which gives everything back.
        waits: It waits for a thread, or did so.
        result: What the call returned.
        error: What the call raised.
        started: When it got its slot, of one that may have waited for it; else 0.
    """

    __slots__ = (
        "_args",
        "_context",
        "_done",
        "_end",
        "_fn",
        "_kwargs",
        "_start",
        "_tell",
        "error",
        "home",
        "is_handed",
        "pooled",
        "result",
        "scopes",
        "started",
        "taken",
        "turn",
        "waits",
    )

    def __init__(self, home: ThreadIsolation, fn: Callable[..., Any], args: tuple[Any, ...],
                 kwargs: Mapping[str, Any], taken: list[list[None]]) -> None:
        self.home, self._fn, self._args, self._kwargs = home, fn, args, kwargs
        self._context: Context | None = copy_context()
        if in_use:
            shorten(self._context, home.timeout)
        self._done = done = allocate_lock()
        done.acquire()
        self._start, self._end = [None], [None]
        self.taken = taken
        self._tell: Callable[[Job], object] | None = None
        self.is_handed = self.waits = False
        self.started = 0.0
        self.pooled: PooledCall | None = None
        if home.pool.is_shared:
            self.turn: list[list[None]] = []
            self.pooled = PooledCall(home.pool)  # though the pool has no queue now: it may be given one while this runs
            self.scopes = living()
            self._context.run(scopes.set, (*self.scopes, self.pooled))
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, rested: Callable[[], None]) -> None:
        """On the worker: run, unless the caller has left already; then give back what the job held.

        What the call leaves behind is destroyed before the thread is free for another call, if nobody wants it.
        """
        home, pooled = self.home, self.pooled
        slot, place = self.taken
        try:
            del self._start[-1]
        except IndexError:
            rested()
            place += TOKEN
            slot += TOKEN
            home.freed()
            return
        if pooled is not None:
            pooled.pool.started(pooled)
        context = self._context
        assert context is not None
        try:
            self.result = context.run(self._fn, *self._args, **self._kwargs)
        except BaseException as error:  # noqa: BLE001 - the caller gets it, whatever it is
            annotate(error)
            self.error = error
        pool = home.pool
        if pool.cleanups:
            cleaned(pool.cleanups, context)
        self._context = context = None
        if not self._end:  # the caller has left
            self.result = self.error = None
            self._args, self._kwargs = (), {}
        pool.completed += 1
        if pooled is not None:
            pooled.pool.leave(pooled)
        rested()
        place += TOKEN
        slot += TOKEN
        try:
            del self._end[-1]
        except IndexError:
            self.result = self.error = None  # nobody will ask
            del home.abandoned_jobs[-1]
        self._done.release()
        if home.waiter is not None:  # freed(), without its call
            home.waiter.hand_on()
        if self._tell is not None:
            self._tell(self)

    def wait(self, timeout: float) -> bool:
        """In the caller: whether the job ended within *timeout* seconds (negative: however long)."""
        return self._done.acquire(True, timeout)

    def tell(self, listener: Callable[[Job], object]) -> None:
        """In the caller: call *listener* when the job has ended, or now; twice if both are at once."""
        self._tell = listener
        if self.wait(0):
            listener(self)

    def outcome(self) -> Any:
        """In the caller, once: the result of a job that has ended; raises what it raised."""
        error = self.error
        if error is not None:
            self.error = None
            try:
                raise error
            finally:
                del error  # no cycle through this frame
        result, self.result = self.result, None
        return result

    def revoke(self) -> bool:
        """In the caller: see that the job never starts. False: it has."""
        if not _won(self._start):
            return False
        self._end.clear()
        if self.waits:
            self.home.pool.withdraw(self)
            self.home.freed()
        return True

    def leave(self) -> bool:
        """In the caller: walk away. False: too late, the job has just ended, or has been left before."""
        if self.revoke():
            return True
        abandoned_jobs, end = self.home.abandoned_jobs, self._end
        abandoned_jobs += TOKEN  # before the worker, ending now, can strike it off
        try:
            del end[-1]
        except IndexError:
            del abandoned_jobs[-1]
            return False
        return True


runs_jobs.add(Job.run.__code__)


class ThreadIsolation:
    """Runs the calls of one command on a pool, within the command's own slots.

    Args:
        key: The command's.
        slots: The command's.
        pool: The group's.
        timeout: See below.
        threads: How many of its own it brings to a pool that is not shared.

    Attributes:
        key: The command's.
        pool: The group's.
        timeout: Seconds a caller waits; None: for ever. May be changed at any time.
        abandoned_jobs: One entry for each call whose caller left while its worker still runs.
        threads: How many of its own it brings.
        waiter: Lets callers wait for a slot; None: they are refused.
    """

    __slots__ = (
        "__weakref__",
        "_bounds",
        "_places",
        "_slots",
        "abandoned_jobs",
        "key",
        "pool",
        "threads",
        "timeout",
        "waiter",
    )

    def __init__(self, key: str, slots: Slots, pool: WorkerPool, timeout: float | None,
                 threads: int = DEFAULT_THREADS) -> None:
        self.key, self._slots, self.pool, self.timeout = key, slots, pool, timeout
        self.threads = threads
        self._places = None if pool.is_shared else Slots(Bulkhead(threads), key=key)
        self._bounds: tuple[Slots, ...] = (slots,) if self._places is None else (slots, self._places)
        self.abandoned_jobs: list[None] = []
        self.waiter: AdmissionWaiter | None = None
        pool.join(self)

    @property
    def abandoned(self) -> int:
        """Calls whose caller left while their worker still runs."""
        return len(self.abandoned_jobs)

    @property
    def in_flight(self) -> int:
        """Calls of the command that hold a slot."""
        return self._slots.in_flight

    @property
    def jobs(self) -> int:
        """Calls that hold one of its own threads; 0 on a shared pool."""
        return 0 if self._places is None else self._places.in_flight

    def bring(self, threads: int) -> None:
        """Change how many threads of its own it has, while calls go on; nothing, on a shared pool."""
        self.threads = threads
        if self._places is not None:
            self._places.configure(Bulkhead(threads))

    def submit(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], now: float, *,
               waits: bool = True) -> Job:
        """Hand a call to the pool; if the command lets callers wait for a slot, and this one *waits*, after a wait.

        Raises:
            BulkheadFullError: The command's slots are taken.
            ThreadPoolFullError: The places of the pool are taken, or the call would wait for itself.
            ThreadUnavailableError: The system gives no thread.
            ThreadPoolClosedError: The pool is closed, or the interpreter is shutting down.
        """
        job, taken, pool = None, list[list[None]](), self.pool
        bounds, waiter = self._bounds, self.waiter if waits else None
        try:
            if waiter is not None:
                now, bounds = waiter.admit(taken, args, kwargs, now), bounds[1:]
            for machine in bounds:
                if machine.owed:
                    machine.collect()
                try:  # Slots.take, without its calls
                    sack = machine.tokens
                    del sack[-1]
                    taken += (sack,)
                except IndexError:
                    machine.take(taken)
                else:
                    free = len(sack)
                    if free < machine.least_free:  # noqa: PLR1730 (min() would be a call)
                        machine.least_free = free
            if pool.is_shared and not pool.take_place(taken):
                raise pool.full(self)
            job = Job(self, fn, args, kwargs, taken)
            job.started = now
            pool.start(job)
        except BaseException as error:
            self._give_up(job, taken)
            if type(error) is BulkheadFullError:  # of one of the two machines, which know neither threads nor callers
                raise self._refusal(slot_taken=bool(taken)) from None
            raise
        return job

    def _give_up(self, job: Job | None, taken: list[list[None]]) -> None:
        """Give back what a call holds that will not be made, unless a thread does so."""
        if job is not None and (job.is_handed or job.waits):
            job.leave()
            return
        if taken[1:]:
            taken[1] += TOKEN
        if taken:
            taken[0] += TOKEN
        self.freed()
        if job is not None and self.pool.is_shared:
            self.pool.drop(job)

    def _refusal(self, *, slot_taken: bool) -> BulkheadFullError:
        if slot_taken:
            return self.pool.full(self)
        slots = self._slots
        return BulkheadFullError(self.key, None, slots.limit, self.abandoned, slots.in_flight, len(slots.crowd))

    def again(self, job: Job, now: float) -> Job:
        """Hand the same call to the pool once more, if there is a slot now; see submit()."""
        slots = self._slots
        if slots.crowd and slots.shadow is None:  # callers that wait come first
            raise self._refusal(slot_taken=False)
        return self.submit(job._fn, job._args, job._kwargs, now, waits=False)

    def freed(self) -> None:
        """Give a slot that has come back to those who wait."""
        if self.waiter is not None:
            self.waiter.hand_on()

    def wait(self, job: Job) -> Any:
        """The call's result.

        Raises:
            CallTimeoutError: It did not come within the timeout.
            DeadlineExceededError: It did not come within its caller's deadline, or, without a timeout, not begin.
            BaseException: Whatever the call raised.
        """
        timeout = self.timeout
        left = shortened(timeout) if in_use else None
        begun = waited_clock()
        try:
            ended = job.wait(-1 if timeout is None else timeout) if left is None \
                else self._wait_shorter(job, timeout, left)
        except BaseException:  # KeyboardInterrupt while waiting
            job.leave()
            raise
        if not ended:
            given = timeout if left is None else left
            came_late(waited_clock() - begun - (given or 0.0))
        if not ended and job.leave():
            if left is not None:
                raise deadline_error(self.key, left)
            assert timeout is not None
            raise CallTimeoutError(self.key, timeout)
        return job.outcome()

    def _wait_shorter(self, job: Job, timeout: float | None, left: float) -> bool:
        """Whether the job ended in the time *left*; without a timeout one that has begun is waited for."""
        if job.wait(left):
            return True
        if timeout is not None:
            return False
        if job.revoke():
            raise deadline_error(self.key, left)
        return job.wait(-1)

    def renew(self) -> None:
        """Start over in a forked child."""
        self.abandoned_jobs = []
        if self._places is not None:
            self._places.renew()


def _won(token: list[None]) -> bool:
    try:
        del token[-1]
    except IndexError:
        return False
    return True
