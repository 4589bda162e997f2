"""Threads: the daemon threads of one pool, made on demand, which end when nobody needs them.

Each thread has a mailbox. A thread without work lies in a stack of idle ones; who
takes it from there owns it, and nobody else puts anything into its mailbox. The one
that rested last works next, so that those below can reach their time and end.
Nothing here bounds anything: whoever hands over a job has a place for it already.

Taking a thread and giving it the job stand next to each other, with no call
between them that a signal handler's exception could follow (core.bulkhead): the
first is done by the ``for`` itself.
"""

from __future__ import annotations

import functools
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

#: Seconds for which a thread waits for work before it ends.
IDLE_S: Final = 10.0
LAST: Final = (-1,)


class Work(Protocol):
    """The work that a thread is given."""

    is_handed: bool

    def run(self, rested: Callable[[], None]) -> None:
        """Do it; call *rested* as soon as the thread could take other work."""
        ...


class Threads:
    """Every method may be called from any thread.

    Args:
        name: The threads are called after it.
        idle: Seconds for which a thread waits for work before it ends.
        then: What a thread that has done some work is to do next, or None, after a call of what it is given beside the
            work, as of Work.run(). Without it every thread rests after its work.

    Attributes:
        most: The most that were alive at once.
        take: Takes an idle thread, as what to put its work into; IndexError: there is none. Another after a fork.
    """

    def __init__(self, name: str, *, idle: float = IDLE_S,
                 then: Callable[[Any, Callable[[], None]], Work | None] | None = None) -> None:
        self._name, self._idle, self._then = name, idle, then
        self.renew()

    def renew(self) -> None:
        """Start over in a forked child, which has none of the threads."""
        self._alive: list[None] = []
        self._resting: list[Callable[[Work | None], None]] = []
        self._idle_s = self._idle
        self.take = self._resting.pop
        self._made = self.most = 0

    @property
    def alive(self) -> int:
        """How many there are."""
        return len(self._alive)

    def hand_over(self, work: Work) -> None:
        """Let a thread do *work*, which is marked as handed in the same moment.

        Raises:
            RuntimeError: There is no idle thread, and the system gives no new one.
            BaseException: What a signal handler raised.
        """
        try:
            for put in map(self.take, LAST):
                work.is_handed = True
                put(work)
        except IndexError:
            if work.is_handed:  # of a signal handler
                raise
            self.begin(work)

    def close(self) -> None:
        """Let idle threads end now, and the others when their work has."""
        self._idle_s = 0.0  # of those that rest later
        while True:
            try:
                put = self._resting.pop()
            except IndexError:
                return
            put(None)

    def begin(self, work: Work) -> None:
        """Do what hand_over() does, with a new thread."""
        mailbox: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        put = mailbox.put
        self._made = number = self._made + 1
        thread = threading.Thread(target=self._live, args=(mailbox, put, self._alive, self._resting),
                                  name=f"resilience-{self._name}-{number}", daemon=True)
        try:
            start(thread)
        except BaseException:
            put(None)  # of a signal handler, and the thread may be there
            raise
        work.is_handed = True
        put(work)

    def _live(self, mailbox: queue.SimpleQueue[Work | None], put: Callable[[Work | None], None],
              alive: list[None], idle: list[Callable[[Work | None], None]]) -> None:
        """The life of one thread."""
        alive.append(None)
        self.most = max(self.most, len(alive))
        rested, get, then = functools.partial(idle.append, put), mailbox.get, self._then
        work = get()
        while work is not None:
            if then is None:
                work.run(rested)
            else:
                work.run(_nothing)
                work = then(work, rested)
                if work is not None:
                    continue
            # The caller may be waiting for the interpreter's lock by now: be brief.
            work = None  # do not pin the last call's arguments
            try:
                work = get(True, self._idle_s)
            except queue.Empty:
                try:
                    idle.remove(put)
                except ValueError:  # somebody has taken this thread, and is about to say for what
                    work = get()
        alive.pop()


def start(thread: threading.Thread) -> None:
    """Start *thread*.

    Raises:
        RuntimeError: The system gives none.
        BaseException: What a signal handler raised. Python puts a RuntimeError in its place where it strikes within the
            wait for the thread, which leaves a lock that it does not have.
    """
    handled = sys.exception()
    try:
        thread.start()
    except RuntimeError as error:
        struck = error.__context__
        if struck is None or struck is handled:
            raise
        raise struck from None


def _nothing() -> None:
    """The thread is not free before it has asked what is next."""
