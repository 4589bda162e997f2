"""Alarms: one thread that calls what is due, for waits in other threads that nothing else can end.

The thread alone has the heap, and hears of new alarms from a queue, so there is no lock that a signal handler or a
finalizer could meet. It is there while alarms are set, and for some seconds after. Whoever has the one token of a list
may start it: it gives that back when it ends, and then looks once more whether somebody has set an alarm meanwhile.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from .system_clock import waited_clock
from .threads import IDLE_S, start

_FEW: Final = 64


class Alarm:
    """One of them.

    Attributes:
        due: When it rings, on the clock that blocking waits pass on.
        ring: Called then, on the thread, with the seconds that it comes late; it is brief and never raises. None: it is
            switched off.
    """

    __slots__ = ("due", "ring")

    def __init__(self, due: float, ring: Callable[[float], object] | None) -> None:
        self.due, self.ring = due, ring


class Alarms:
    """Every method may be called from any thread."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Start over in a forked child, which has no such thread."""
        self._new: queue.SimpleQueue[Alarm] = queue.SimpleQueue()
        self._token = [None]

    def set(self, due: float, ring: Callable[[float], object]) -> Alarm:
        """Set an alarm; see there.

        Raises:
            RuntimeError: The system gives no thread.
        """
        alarm = Alarm(due, ring)
        self._new.put(alarm)
        if self._token:
            self._begin()
        return alarm

    def _begin(self) -> None:
        try:
            self._token.pop()
        except IndexError:
            return
        try:
            start(threading.Thread(target=self._run, args=(self._new, self._token), name="resilience alarms",
                                   daemon=True))
        except BaseException:
            self._token.append(None)
            raise

    @staticmethod
    def _run(new: queue.SimpleQueue[Alarm], token: list[None]) -> None:
        heap: list[tuple[float, int, Alarm]] = []
        number, full = count(), _FEW
        while True:
            wait = heap[0][0] - waited_clock() if heap else IDLE_S
            if wait <= 0.0:
                _ring(heappop(heap)[2])
                continue
            try:
                alarm = new.get(True, wait)
            except queue.Empty:
                if heap:
                    continue
                token.append(None)
                if new.empty():
                    return
                try:
                    token.pop()
                except IndexError:  # another thread has begun
                    return
                continue
            heappush(heap, (alarm.due, next(number), alarm))
            del alarm
            if len(heap) >= full:
                heap = [entry for entry in heap if entry[2].ring is not None]
                heapify(heap)
                full = max(_FEW, 2 * len(heap))


def _ring(alarm: Alarm) -> None:
    ring = alarm.ring
    if ring is not None:
        ring(waited_clock() - alarm.due)


alarms: Final = Alarms()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=alarms.renew)
