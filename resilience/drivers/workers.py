"""Thread isolation: bounded pools whose callers may walk away.

A thread cannot be killed. When the caller's time is up it leaves; the worker
runs on, and the bulkhead slot and the pool's place stay taken until the worker
*ends*, so that the bound is a bound on work, not on patience. Such calls are
counted as abandoned.

A pool admits ``size`` running and ``max_queue`` waiting jobs. A job whose
caller left before a worker took it never starts. Who starts a job, and who ends
it, is settled by taking the one token of a list, which is atomic: either the worker
or the leaving caller gets it.

Who gives back a job's slot and place: the worker, from the moment the job is
queued; until then the caller. A signal handler's exception may strike the caller
anywhere after a call, so both notes are made next to their deed (core.bulkhead).

Workers are daemon threads: a hung one does not keep the interpreter alive, which
is why this is not concurrent.futures.ThreadPoolExecutor, whose exit hook joins
its threads. Each job runs in a copy of its caller's context.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from typing import Any

from ..core.bulkhead import TOKEN, Slots
from ..errors import BulkheadFullError, CallTimeoutError, DeadlineExceededError
from .time_left import in_use, shorten, shortened


class WorkerPool:
    """At most ``size`` threads for the commands of one group. Every method may be called from any thread."""

    def __init__(self, name: str, *, size: int, max_queue: int, fixed: bool = False) -> None:
        self.name, self.size, self.max_queue, self._fixed = name, size, max_queue, fixed
        self._start()

    def _start(self) -> None:
        self._lock = threading.RLock()  # a signal handler may find its own thread in here
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._places: list[None] = [None] * (self.size + self.max_queue)  # a forked child gets another
        self._threads = 0
        self.completed = 0  # jobs that ended, since for ever
        self.largest = 0  # most jobs admitted at once, since for ever
        self._closed = False

    @property
    def threads(self) -> int:
        """Threads alive."""
        return self._threads

    @property
    def admitted(self) -> int:
        """Jobs running or waiting."""
        return self.size + self.max_queue - len(self._places)

    def grow(self, size: int) -> None:
        """Let the pool have at least *size* threads, unless its size is fixed."""
        if self._fixed:
            return
        with self._lock:
            more = size - self.size
            if more > 0:
                self.size = size
                self._places += [None] * more

    def take_place(self, grip: list[list[None]]) -> bool:
        """Reserve a place for one job, noted in *grip* as by Slots.take(); False: the pool and its queue are full."""
        places = self._places
        try:
            del places[-1]
            grip += (places,)
        except IndexError:
            return False
        return True

    def start(self, job: Job) -> None:
        """Run *job*, which has a place, on a worker.

        Raises:
            RuntimeError: The pool is closed, or has no thread and the system gives it none.
        """
        admitted = self.admitted
        self.largest = max(self.largest, admitted)
        if self._threads < self.size and admitted > self._threads:
            self._spawn()
        with self._lock:  # nothing may queue behind close()'s last word to the workers
            if self._closed:
                raise RuntimeError(f"the pool {self.name} is closed")
            put = self._jobs.put
            job.queued = True
            put(job)

    def close(self) -> None:
        """Let idle workers end; running ones end after their job. Further calls are refused."""
        with self._lock:
            self._closed = True
            self._jobs.put(None)  # each worker that ends hands it to the next

    def renew(self) -> None:
        """Start over in a forked child, which has none of the threads."""
        self._start()

    def _spawn(self) -> None:
        with self._lock:
            if self._closed or self._threads >= self.size:
                return
            thread = threading.Thread(target=self._work, name=f"resilience-{self.name}-{self._threads}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if not self._threads:
                    raise
                return
            self._threads += 1

    def _work(self) -> None:
        jobs = self._jobs
        while True:
            job = jobs.get()
            if job is None:
                jobs.put(None)
                with self._lock:
                    self._threads -= 1
                return
            job.run()
            del job  # do not pin the last call's arguments while waiting for the next


class Job:
    """One call on a worker."""

    __slots__ = ("_args", "_context", "_done", "_end", "_fn", "_grip", "_kwargs", "_start", "_tell", "error", "home",
                 "queued", "result")

    def __init__(self, home: Isolation, fn: Callable[..., Any], args: tuple[Any, ...],
                 kwargs: Mapping[str, Any], grip: list[list[None]]) -> None:
        self.home, self._fn, self._args, self._kwargs = home, fn, args, kwargs
        self._context: Context | None = copy_context()
        if in_use:
            shorten(self._context, home.timeout)
        self._done = threading.Lock()
        self._done.acquire()
        self._start, self._end = [None], [None]
        self._grip = grip  # the slot and the place that it holds
        self._tell: Callable[[Job], object] | None = None
        self.queued = False  # from now on the worker gives them back
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """On the worker: run, unless the caller has left already; then give back what the job held."""
        home = self.home
        if not _won(self._start):
            self._release()
            return
        try:
            assert self._context is not None
            self.result = self._context.run(self._fn, *self._args, **self._kwargs)
        except BaseException as error:  # noqa: BLE001 - the caller gets it, whatever it is
            self.error = error
        self._context = None
        home.pool.completed += 1
        self._release()
        if not _won(self._end):
            self.result = self.error = None  # nobody will ask
            del home.adrift[-1]
        self._done.release()
        if self._tell is not None:
            self._tell(self)

    def _release(self) -> None:
        slot, place = self._grip
        place += TOKEN
        slot += TOKEN

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
        return True

    def leave(self) -> bool:
        """In the caller: walk away. False: too late, the job has just ended, or has been left before."""
        if self.revoke():
            return True
        adrift, end = self.home.adrift, self._end
        adrift += TOKEN  # before the worker, ending now, can strike it off
        try:
            del end[-1]
        except IndexError:
            del adrift[-1]
            return False
        return True


class Isolation:
    """Runs the calls of one command on a pool, within the command's own slots.

    Attributes:
        key: The command's.
        pool: Shared by the group.
        timeout: Seconds a caller waits; None: for ever. May be changed at any time.
        adrift: One entry for each call whose caller left while its worker still runs.
    """

    __slots__ = ("_slots", "adrift", "key", "pool", "timeout")

    def __init__(self, key: str, slots: Slots, pool: WorkerPool, timeout: float | None) -> None:
        self.key, self._slots, self.pool, self.timeout = key, slots, pool, timeout
        self.adrift: list[None] = []

    @property
    def abandoned(self) -> int:
        """Calls whose caller left while their worker still runs."""
        return len(self.adrift)

    def submit(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], now: float) -> Job:
        """Hand a call to the pool.

        Raises:
            BulkheadFullError: The command's slots, or the pool's places, are taken.
        """
        job, grip, pool = None, list[list[None]](), self.pool
        try:
            self._slots.take(grip)
            if not pool.take_place(grip):
                raise BulkheadFullError(self.key)
            job = Job(self, fn, args, kwargs, grip)
            try:
                pool.start(job)
            except RuntimeError:
                raise BulkheadFullError(self.key) from None
        except BaseException:
            if job is None or not job.queued:
                if grip[1:]:
                    grip[1] += TOKEN
                if grip:
                    grip[0] += TOKEN
            else:
                job.leave()
            raise
        return job

    def again(self, job: Job, now: float) -> Job:
        """Hand the same call to the pool once more; see submit()."""
        return self.submit(job._fn, job._args, job._kwargs, now)

    def wait(self, job: Job) -> Any:
        """The call's result.

        Raises:
            CallTimeoutError: It did not come within the timeout.
            DeadlineExceededError: It did not come within its caller's deadline, or, without a timeout, not begin.
            BaseException: Whatever the call raised.
        """
        timeout = self.timeout
        left = shortened(timeout) if in_use else None
        try:
            ended = job.wait(-1 if timeout is None else timeout) if left is None \
                else self._wait_shorter(job, timeout, left)
        except BaseException:  # KeyboardInterrupt while waiting
            job.leave()
            raise
        if not ended and job.leave():
            if left is not None:
                raise DeadlineExceededError(self.key, left)
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
            raise DeadlineExceededError(self.key, left)
        return job.wait(-1)

    def renew(self) -> None:
        """Start over in a forked child."""
        self.adrift = []


def _won(token: list[None]) -> bool:
    try:
        del token[-1]
    except IndexError:
        return False
    return True
