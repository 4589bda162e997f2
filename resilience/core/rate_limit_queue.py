"""The queue of those who wait under a rate limit: who is next, and when.

Only the head of the line knows exactly when its turn comes: at ``base`` less ``burst_tolerance``,
where ``base`` is the theoretical arrival time (``tat``) without those who wait.
The others know a time by which their turn comes at the latest, and are woken as they
become the head if it comes sooner. So a caller who gives up costs the same however
many wait: the turn is unlinked, ``tat`` falls by what it had booked, and at most one other
caller is woken. A turn that has come is spent, taken or not.

A turn books ``units`` emission intervals, one unless its limit counts by cost (core.rate_cost), and needs that many of
the burst to begin. One that needs more than the whole burst begins when nothing is owed, and those behind it wait for
what it took beyond. A cost that turns out higher or lower than was booked moves all turns that are still to come.

While a turn is still to come ``tat`` is so far ahead that nobody can pass the line by
the compiled wrapper, which takes no lock (core.rate_limiter). If somebody has passed,
``tat`` is no longer what was ``planned``, and then all turns have come.

A line is a linked list, and between the first and the last statement of each change nothing is
called and nothing jumps back. So neither a signal handler nor an interrupt ever finds it half changed:
CPython looks for both at such places only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: States of a turn.
WAITING: Final = 0
COME: Final = 1
LEFT: Final = 2
REFUSED: Final = 3


class Reservation:
    """A place in the line.

    Attributes:
        pace: Whose line.
        asked: When its caller came.
        units: How many emission intervals it books.
        at: When it comes, at the latest; when exactly is told by RateLimiter.look().
        state: WAITING, until it is settled how the wait ends.
        wake: Called when look() would say something else now. If it raises RuntimeError (its event loop is closed),
            the turn is given up.
    """

    __slots__ = ("after", "asked", "at", "before", "pace", "state", "units", "wake")

    def __init__(self, pace: CellRateState, asked: float, units: float = 1.0) -> None:
        # When it comes CellRateState.join() says.
        self.pace, self.asked, self.at, self.state, self.units = pace, asked, asked, WAITING, units
        self.before: Reservation | None = None
        self.after: Reservation | None = None
        self.wake: Callable[[], object] | None = None


class Rate:
    """How fast calls may go, for as long as no other rate is said.

    Attributes:
        emission_interval: Seconds that each call books.
        burst: How many may begin at once after a pause.
        until: When another took its place, if ``later`` is set.
        later: The rate that took its place.
    """

    __slots__ = ("__weakref__", "burst", "emission_interval", "later", "until")
    later: Rate | None

    def __init__(self, emission_interval: float, burst: int) -> None:
        self.emission_interval, self.burst = emission_interval, burst
        self.until, self.later = 0.0, None

    def moved(self, tat: float, later: Rate) -> float:
        """Where a theoretical arrival time *tat* under this rate lies under the *later* one.

        What is spent stays spent: neither the number of calls that the burst lacks nor their share of it falls. What
        calls took beyond the burst, which they can where they have a cost, stays owed.
        """
        spent = (tat - self.until) / self.emission_interval
        if spent <= 0.0:
            return tat
        beyond = max(0.0, spent - self.burst)
        calls = min(float(later.burst), (spent - beyond) * max(1.0, later.burst / self.burst)) + beyond
        return self.until + calls * later.emission_interval


class CellRateState:
    """One line of callers. The caller of every method holds the limiter's lock.

    Attributes:
        rate: At which it goes.
        tat: Theoretical arrival time: until when all is booked, the turns of those who wait included.
        base: The same without them: until when all ahead of the line is booked.
        planned: What ``tat`` is unless somebody who need not wait has come since; only while somebody waits.
        waiting: How many emission intervals those who wait have booked: one each, unless calls have a cost.
        first: The head of the line.
        last: Its end.
    """

    __slots__ = ("base", "first", "last", "planned", "rate", "tat", "waiting")
    first: Reservation | None
    last: Reservation | None

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self.tat = self.base = self.planned = now
        self.waiting = 0.0
        self.first = self.last = None

    def join(self, turn: Reservation, now: float, emission_interval: float, burst_tolerance: float) -> None:
        """Book *turn*, at the end of the line."""
        # Without a call to the end.
        tat = self.tat if self.tat > now else now
        last = self.last
        if last is None:
            self.base = tat
            self.first = turn
        else:
            turn.before = last
            last.after = turn
        self.last = turn
        self.waiting += turn.units
        ahead = burst_tolerance + (1.0 - turn.units) * emission_interval
        turn.at = tat - ahead if ahead > 0.0 else tat
        self.tat = self.planned = tat + turn.units * emission_interval

    def pass_on(self, now: float, emission_interval: float, burst_tolerance: float) -> list[Reservation]:
        """Let those go whose turn has come. Return whom to wake: them, and the next if its turn comes sooner."""
        woken: list[Reservation] = []
        while (turn := self.first) is not None:
            # Without a call from here ...
            ahead = burst_tolerance + (1.0 - turn.units) * emission_interval
            at = self.base - ahead if ahead > 0.0 else self.base
            if self.tat == self.planned and at > now:
                if at < turn.at:
                    turn.at = at
                    woken.append(turn)
                break
            after = turn.after
            self.first, turn.after, turn.state = after, None, COME
            if after is None:
                self.last = None
            else:
                after.before = None
            self.waiting = self.waiting - turn.units if after is not None else 0.0
            self.base += turn.units * emission_interval
            # ... to here.
            woken.append(turn)
        return woken

    def leave(self, turn: Reservation, state: int, emission_interval: float) -> None:
        """End the wait of *turn*; those behind it get its booking."""
        # Without a call to the end.
        if turn.state != WAITING:
            return
        before, after = turn.before, turn.after
        turn.before = turn.after = None
        turn.state = state
        if before is None:
            self.first = after
        else:
            before.after = after
        if after is None:
            self.last = before
        else:
            after.before = before
        self.waiting = self.waiting - turn.units if self.first is not None else 0.0
        if self.tat == self.planned:
            self.tat = self.planned = self.base + self.waiting * emission_interval

    def plan_anew(self, max_wait: float, emission_interval: float, burst_tolerance: float) -> list[Reservation]:
        """Under another limit, refuse those whose turn comes too late. Return whom to wake."""
        woken: list[Reservation] = []
        turn, tat = self.first, self.base
        while turn is not None:
            after = turn.after
            at = tat - max(0.0, burst_tolerance + (1.0 - turn.units) * emission_interval)
            if at - turn.asked > max_wait:
                self.leave(turn, REFUSED, emission_interval)
                woken.append(turn)
            else:
                if at > turn.at:  # it may be too late for its caller's deadline
                    turn.at = at
                    woken.append(turn)
                tat += turn.units * emission_interval
            turn = after
        return woken

    def at_head(self, emission_interval: float, burst_tolerance: float) -> float:
        """When the turn of the head of the line comes; there is one."""
        ahead = 0.0 if self.first is None else burst_tolerance + (1.0 - self.first.units) * emission_interval
        return self.base - max(0.0, ahead)

    def move(self, seconds: float, now: float) -> None:
        """Book so many *seconds* more, or fewer if they are below zero, ahead of all who wait."""
        # Without a call to the end.
        tat = self.tat
        if self.first is None:
            if tat < now:  # noqa: PLR1730 (max() would be a call)
                tat = now
        else:
            if self.base + seconds < now:  # the burst is full
                seconds = now - self.base
            self.base += seconds
            if tat == self.planned:
                self.planned = tat + seconds
        self.tat = tat + seconds

    def release(self) -> list[Reservation]:
        """Let all go who wait; what they have booked stays booked. Return whom to wake."""
        woken: list[Reservation] = []
        turn, self.first, self.last = self.first, None, None
        while turn is not None:
            woken.append(turn)
            after = turn.after
            turn.before = turn.after = None
            turn.state = COME
            turn = after
        self.waiting = 0.0
        return woken

    def renew(self, now: float) -> None:
        """Start over, with nothing booked; callers that wait go on at once."""
        self.release()
        self.tat = self.base = self.planned = now
