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
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

#: Seconds for which a thread waits for work before it ends.
IDLE_S: Final = 10.0
_LAST: Final = (-1,)


class Work(Protocol):
    """What a thread is given."""

    is_handed: bool

    def run(self, rested: Callable[[], None]) -> None:
        """Do it; call *rested* as soon as the thread could take other work."""
        ...


class Threads:
    """Every method may be called from any thread.

    Args:
        name: The threads are called after it.
        idle: Seconds for which a thread waits for work before it ends.
        then: What a thread that has done this work is to do next; None: rest.

    Attributes:
        most: The most that were alive at once.
    """

    def __init__(self, name: str, *, idle: float = IDLE_S, then: Callable[[Any], Work | None] | None = None) -> None:
        self._name, self._idle_s, self._then = name, idle, then
        self.renew()

    def renew(self) -> None:
        """Start over in a forked child, which has none of the threads."""
        self._alive: list[None] = []
        self._idle: list[Callable[[Work | None], None]] = []
        self._closed = False
        self._made = self.most = 0

    @property
    def alive(self) -> int:
        """How many there are."""
        return len(self._alive)

    def hand_over(self, work: Work) -> None:
        """Let a thread do *work*, which is marked as handed in the same moment.

        Raises:
            RuntimeError: There is no idle thread, and the system gives no new one.
        """
        try:
            for put in map(self._idle.pop, _LAST):
                work.is_handed = True
                put(work)
        except IndexError:
            if work.is_handed:  # of a signal handler
                raise
            self._begin(work)

    def close(self) -> None:
        """Let idle threads end now, and the others when their work has."""
        self._closed = True
        while True:
            try:
                put = self._idle.pop()
            except IndexError:
                return
            put(None)

    def _begin(self, work: Work) -> None:
        mailbox: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        put = mailbox.put
        self._made = number = self._made + 1
        thread = threading.Thread(target=self._live, args=(mailbox, put, self._alive, self._idle),
                                  name=f"resilience-{self._name}-{number}", daemon=True)
        try:
            thread.start()
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
        rested = functools.partial(idle.append, put)
        work = mailbox.get()
        while work is not None:
            if self._then is None:
                work.run(rested)
            else:
                work.run(_nothing)
                work = self._then(work)
                if work is not None:
                    continue
                idle.append(put)
            work = None  # do not pin the last call's arguments
            work = self._rest(mailbox, put, idle)
        alive.pop()

    def _rest(self, mailbox: queue.SimpleQueue[Work | None], put: Callable[[Work | None], None],
              idle: list[Callable[[Work | None], None]]) -> Work | None:
        """Wait for work as one of the idle; None: it is time to end."""
        if not self._closed:
            try:
                return mailbox.get(timeout=self._idle_s)
            except queue.Empty:
                pass
        try:
            idle.remove(put)
        except ValueError:  # somebody has taken this thread, and is about to say for what
            return mailbox.get()
        return None


def _nothing() -> None:
    """The thread is not free before it has asked what is next."""
