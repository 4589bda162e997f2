"""A short queue in front of a limit, that does not stand.

A queue evens out bursts; one that stands only adds its length to every wait. So
two things change when it has not been empty for ``wait_s``: a newcomer may wait
for a twentieth of that only (controlled delay), and the newest of a level goes
first, because the oldest has the least time left (adaptive last in, first out).
Both are Facebook's (B. Maurer, "Fail at Scale", ACM Queue 2015: 100 ms and 5 ms).
A more important level always goes first, and when the queue is full a waiter of
the least important level gives way to a newcomer of a more important one, or,
once the queue stands, to one of its own.

Nothing is locked. A ticket is decided once, by whoever takes out its ``_open``
mark, which is one instruction: the one who grants it, the one who evicts it, or
its owner who withdraws it. What was decided while it stood in a line stays there
until the line's end passes it, or until lines that are mostly such are cleaned.

The owner of a ticket makes it *before* it is queued and withdraws it in a
``finally``: whatever interrupts him, in between or while he waits, a permit
granted to him is then in his grip, and no other can follow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from .bulkhead import TOKEN

LEVELS: Final = 10  # of importance, 0 to 9; a number beyond them counts as the nearest
STANDING: Final = 0.05  # of the wait is left to newcomers when the queue stands: 5 ms of 100


class Ticket:
    """One waiter.

    Attributes:
        grip: Where the permit is put; empty while there is none.
        level: 0 is the most important.
        wake: Called once the ticket is granted or evicted, from any thread, outside of any lock. If it raises
            RuntimeError (its event loop is closed), the grant is taken back.
        until: When to give up waiting, seconds; set when it is queued.
    """

    __slots__ = ("_open", "grip", "level", "until", "wake")

    def __init__(self, grip: list[Any], priority: int, wake: Callable[[], object]) -> None:
        self.grip, self.wake = grip, wake
        self.level = level_of(priority)
        self.until = 0.0
        self._open: list[None] = []

    @property
    def waiting(self) -> bool:
        """Neither granted, nor evicted, nor withdrawn."""
        return bool(self._open)


def level_of(priority: int) -> int:
    """The level that a caller's number stands for."""
    return 0 if priority <= 0 else min(priority, LEVELS - 1)


class AdmissionQueue:
    """Tickets in lines, one line a level.

    Attributes:
        size: Most tickets that wait at once; may be changed.
        wait_s: Longest wait, seconds; may be changed.
        crowd: As long as the number of waiters; true while somebody waits.
    """

    __slots__ = ("_empty_at", "_lines", "crowd", "size", "wait_s")

    def __init__(self, size: int, wait_s: float) -> None:
        self.size, self.wait_s = size, wait_s
        self.crowd: list[None] = []
        self._lines: dict[int, deque[Ticket]] = {}  # by level; made when needed, for a deque takes half a kilobyte
        self._empty_at = 0.0

    def stands(self, now: float) -> bool:
        """Whether it has not been empty for as long as a waiter may wait."""
        return bool(self.crowd) and now - self._empty_at >= self.wait_s

    def join(self, ticket: Ticket, now: float) -> Ticket | None:
        """Queue *ticket*.

        Returns:
            Who gave way and must be woken: nobody, another, or *ticket* itself, which then does not wait.
        """
        if not self.crowd:
            self._empty_at = now
        stands = self.stands(now)
        ticket.until = now + (self.wait_s * STANDING if stands else self.wait_s)
        crowd = self.crowd
        crowd += TOKEN
        ticket._open += TOKEN  # nothing can come between these two lines: who is open is counted
        line = self._line(ticket.level)
        if len(line) > 2 * self.size:
            self._clean(line)
        line.append(ticket)
        if len(crowd) <= self.size:
            return None
        victim = self._victim(ticket.level, stands)
        if victim is not None:
            return victim
        return ticket if self.close(ticket) else None

    def first_level(self) -> int | None:
        """The most important level of which somebody waits."""
        for level in range(LEVELS):
            line = self._lines.get(level)
            while line:
                try:
                    head = line[0]
                    if head._open:
                        return level
                    line.remove(head)
                except (IndexError, ValueError):  # another thread took it out
                    continue
        return None

    def leave(self, level: int, now: float) -> Ticket | None:
        """Who of *level* is next; decided by this, so grant it. None if nobody is left."""
        line, newest = self._line(level), self.stands(now)
        while line:
            try:
                ticket = line.pop() if newest else line.popleft()
            except IndexError:  # another thread was faster
                break
            if self.close(ticket) and now < ticket.until:  # else: its owner is about to give up
                if not self.crowd:
                    self._empty_at = now
                return ticket
        return None

    def close(self, ticket: Ticket) -> bool:
        """Decide *ticket*; false if it is decided already."""
        mark, crowd = ticket._open, self.crowd
        try:
            del mark[-1]
            del crowd[-1]
        except IndexError:
            return False
        return True

    def _victim(self, level: int, stands: bool) -> Ticket | None:
        for lesser in range(LEVELS - 1, level if not stands else level - 1, -1):
            line = self._lines.get(lesser)
            while line:
                try:
                    ticket = line.popleft()
                except IndexError:
                    break
                if self.close(ticket):
                    return ticket
        return None

    def _line(self, level: int) -> deque[Ticket]:
        try:
            return self._lines[level]
        except KeyError:
            return self._lines.setdefault(level, deque())  # one wins, if two threads make it

    def _clean(self, line: deque[Ticket]) -> None:
        for ticket in list(line):
            if not ticket._open:
                try:
                    line.remove(ticket)
                except ValueError:  # another thread did
                    pass
