"""Admission queue: a short queue in front of a limit, which is kept from standing full.

A queue evens out bursts; one that stands only adds its length to every wait. So
two things change when it has not been empty for ``wait_s``: a newcomer may wait
for a twentieth of that only (controlled delay), and the newest of a level goes
first, because the oldest has the least time left (adaptive last in, first out).
Both are Facebook's (B. Maurer, "Fail at Scale", ACM Queue 2015: 100 ms and 5 ms).
A more important level goes first, and when the queue is full a waiter of
the least important level gives way to a newcomer of a more important one, or,
once the queue stands, to one of its own.

No level starves: after nineteen grants by importance the twentieth is for the less important.
It goes to whoever has waited longest among those less important than the first in the queue, who
until then does not give way to anybody; if none of them waits, the next newcomer
among them is let in, even where only reserved permits are free or the queue is full of more important ones.
So the less important together get a twentieth of the grants if they ask for it, and no more than that against the
rules of importance.

A bulkhead's queue goes in turn instead: one level, the oldest first, and nobody gives way.

With tenants (``fair_by``) those of a level take turns by tenant, and when there is no room the tenant with the most
waiters gives way to others (core.waiting_queue). Levels come first all the same, and each has a queue that stands or
does not: a crowd of the less important does not shorten the wait of the more important. Nor does the crowd of a tenant
shorten that of others: only newcomers of one that has always had somebody waiting are short of time (as fq_codel, RFC
8290, controls the delay of each flow). Else those who call rarely would be gone before their turn, and the slot went to
who calls often.

Nothing is locked. A ticket is decided once, by whoever takes out its ``_open``
mark, which is one instruction: the one who grants it, the one who evicts it, or
its owner who withdraws it. Whoever grants it puts the permit into ``ticket.taken`` with
the next instruction. Between the two no other thread runs and no signal handler
(core.bulkhead), so that an owner who withdraws too late finds the permit there. Then the
ticket is taken out of its line, at the same cost wherever it stood.

The owner of a ticket makes it *before* it is queued and withdraws it in a
``finally``: whatever interrupts the owner, in between or during the wait, a permit
that was granted is then in ``ticket.taken``, and no other can follow.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

from .bulkhead import TOKEN, Slots
from .waiting_queue import FairQueue, Tenant, WaitingQueue

LEVELS: Final = 10  # of importance, 0 to 9; a number beyond them counts as the nearest
FAIR_AFTER: Final = 19  # after so many grants by importance the next is for the less important
STANDING: Final = 0.05  # of the wait is left to newcomers when the queue stands: 5 ms of 100


class Ticket:
    """One waiter.

    Attributes:
        taken: Where the permit is put; empty while there is none.
        level: 0 is the most important.
        key: Whose it is, where tenants take turns.
        tenant: Who else of theirs waits; set when it is queued.
        wake: Called once the ticket is granted or evicted, from any thread, outside of any lock. If it raises
            RuntimeError (its event loop is closed), the grant is taken back.
        since: When it was queued, seconds.
        until: When to give up waiting, seconds; set when it is queued.
    """

    __slots__ = ("_open", "key", "level", "since", "taken", "tenant", "until", "wake")
    tenant: Tenant

    def __init__(self, taken: list[Any], priority: int, wake: Callable[[], object], key: Hashable = None) -> None:
        self.taken, self.wake, self.key = taken, wake, key
        self.level = level_of(priority)
        self.since = self.until = 0.0
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
        size: Most tickets that wait at once.
        wait_s: Longest wait, seconds.
        crowd: As long as the number of waiters; true while somebody waits.
        passed: Grants by importance since the last one that was for the less important.
        in_turn: Whoever came first goes first, however long the queue stands, and waits as long as all others.
        fair: The tenants of a level take turns.
    """

    __slots__ = ("_empty_at", "_lines", "crowd", "fair", "in_turn", "passed", "size", "wait_s")

    def __init__(self, size: int, wait_s: float, *, in_turn: bool = False, fair: bool = False) -> None:
        self.size, self.wait_s, self.in_turn, self.fair = size, wait_s, in_turn, fair
        self.crowd: list[None] = []
        self.passed = 0
        self._lines: dict[int, WaitingQueue] = {}  # by level; made when needed
        self._empty_at = 0.0

    def stands(self, now: float, line: WaitingQueue | None = None) -> bool:
        """Whether it has not been empty for as long as a waiter may wait; of fair lines each stands for itself."""
        empty_at = line.empty_at if self.fair and line is not None else self._empty_at
        return not self.in_turn and bool(self.crowd) and now - empty_at >= self.wait_s

    def join(self, ticket: Ticket, now: float) -> Ticket | None:
        """Queue *ticket*.

        Returns:
            Who gave way and must be woken: nobody, another, or *ticket* itself, which then does not wait.
        """
        line = self._line(ticket.level)
        line.prepare(ticket)
        if not self.crowd:
            self._empty_at = now
        if self.fair and line.next() is None:
            line.empty_at = now
        stands = self.stands(now, line)
        ticket.since = now
        is_short = stands and (not self.fair or ticket.tenant.stands(now, self.wait_s))
        ticket.until = now + (self.wait_s * STANDING if is_short else self.wait_s)
        if self.fair and not ticket.tenant.tickets:
            ticket.tenant.empty_at = now
        crowd = self.crowd
        crowd += TOKEN
        ticket._open += TOKEN  # nothing can come between these two lines: who is open is counted
        line.add(ticket)
        if self.in_turn:  # the longest wait is today's, even if it was changed just before the ticket was queued
            ticket.until = now + self.wait_s
        if len(crowd) <= self.size:
            return None
        victim = self._victim(ticket, stands)
        if victim is not None:
            return victim
        return ticket if self.close(ticket) else None

    def configure(self, size: int, wait_s: float) -> list[Ticket]:
        """Change the size, and the longest wait of those who come from now on (in turn: of those who wait, too).

        Returns:
            Who must be woken: those for whom there is no room any more, of the least important those who came last,
            and in turn all whose wait has changed.
        """
        changed = self.in_turn and wait_s != self.wait_s
        self.size, self.wait_s = size, wait_s
        woken: list[Ticket] = []
        if changed:
            woken += [ticket for line in self._lines.values() for ticket in line]
        for each in woken:
            each.until = each.since + wait_s
        for level in range(LEVELS - 1, -1, -1):
            while len(self.crowd) > size and (ticket := self._last_of(level)) is not None:
                if self.close(ticket):
                    woken.append(ticket)
        return woken

    def first_level(self) -> int | None:
        """The most important level of which somebody waits."""
        for level in range(LEVELS):
            if self._next_of(level) is not None:
                return level
        return None

    def favoured(self) -> Ticket | None:
        """Return the ticket that is granted next although more important ones wait; None: importance decides."""
        if self.passed < FAIR_AFTER or len(self._lines) == 1:
            return None
        first = self.first_level()
        if first is None:
            return None
        lesser = [ticket for level in range(first + 1, LEVELS) if (ticket := self._next_of(level)) is not None]
        return min(lesser, key=_since, default=None)

    def grant(self, slots: Slots, level: int, now: float, *, oldest: bool = False) -> bool:
        """Give a token to the next ticket of *level*, and wake its owner. False: there is no token.

        Args:
            slots: Where the token is taken from.
            level: The level of importance.
            now: Seconds.
            oldest: Whether the ticket that came first is next even if the queue stands.
        """
        ticket = self._next_of(level, newest=self.stands(now, self._lines.get(level)) and not oldest)
        if ticket is None:
            return True
        if now >= ticket.until:  # its owner is about to give up
            self.close(ticket)
            return True
        sack, mark, taken, crowd, held = slots.tokens, ticket._open, ticket.taken, self.crowd, None
        try:
            del sack[-1]
            held = sack
            del mark[-1]
            taken += (held,)
            held = None
            del crowd[-1]
        except IndexError:  # another thread was faster
            return held is not None
        finally:
            if held is not None:
                held += TOKEN
        self.passed = 0 if oldest else self.passed + 1
        slots.least_free = min(slots.least_free, len(sack))
        self._line(level).served(ticket)
        if not crowd:
            self._empty_at = now
        self.wake(ticket)
        return True

    def wake(self, ticket: Ticket) -> None:
        """Tell the owner of *ticket* that it is decided."""
        try:
            ticket.wake()
        except RuntimeError:  # its event loop is closed: nobody will settle
            taken = ticket.taken
            if taken:
                permit = taken.pop()
                permit += TOKEN

    def close(self, ticket: Ticket) -> bool:
        """Decide *ticket*; false if it is decided already."""
        mark, crowd = ticket._open, self.crowd
        try:
            del mark[-1]
            del crowd[-1]
        except IndexError:
            return False
        self._line(ticket.level).remove(ticket)
        return True

    def _victim(self, newcomer: Ticket, stands: bool) -> Ticket | None:
        spared = self.favoured()
        if self.in_turn and not self.fair:
            return None
        for level in range(LEVELS - 1, -1 if spared is newcomer else newcomer.level - 1, -1):
            line = self._lines.get(level)
            equal = newcomer if level == newcomer.level else None
            while line is not None:
                ticket = line.gives_way(equal, spared, self.size, stands=stands or spared is newcomer,
                                        newest=self.in_turn)
                if ticket is None:
                    break
                if self.close(ticket):
                    return ticket
        return None

    def _next_of(self, level: int, *, newest: bool = False) -> Ticket | None:
        line = self._lines.get(level)
        return None if line is None else line.next(newest=newest)

    def _last_of(self, level: int) -> Ticket | None:
        line = self._lines.get(level)
        return None if line is None else line.last()

    def _line(self, level: int) -> WaitingQueue:
        try:
            return self._lines[level]
        except KeyError:  # one wins, if two threads make it
            return self._lines.setdefault(level, FairQueue() if self.fair else WaitingQueue())


def _since(ticket: Ticket) -> float:
    return ticket.since
