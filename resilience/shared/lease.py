"""Lease: what one instance knows of one caller's share of a limit. Pure: told the time.

A lease is a number of units that the shared store has set aside for this instance (booking_script.py). As long as it
lasts, requests spend from it and ask nobody. It is refilled before it is used up, by as much as this caller is expected
to spend in the next second or some seconds; after these what it does not need goes back. A caller who is near the limit
gets no lease, and each of its requests asks. One that was refused is told so without a question until the store could
say otherwise.

A caller who floods, who is refused by the store and then again and again, is not asked about at each request: it has
what there is of leases, for which the store is asked at most every twentieth of the time of a burst, and nobody waits.

Nothing that a question carries is lost or counted to the caller's advantage if no answer comes: what it said was spent
is not said again, but the next question says that nothing is sure, and then the store counts all that it has set aside
as spent. What it kept it may go on spending until the end of the lease that is known to the server in either case.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Final

#: Seconds for which a lease is meant to last, and after which what is left of it goes back: a share of the time in
#: which the burst fills, and bounds.
_HOLD_SHARE: Final = 0.25
HOLD_S: Final = 1.0
_LONGEST_HOLD_S: Final = 10.0
#: A lease ends after so many times that, if nothing is heard of it; the instance counts from its question on.
_LIFETIMES: Final = 4.0
#: So much longer the server waits, as a share of that: its clock may be faster.
_MARGIN: Final = 0.1
#: Share of a lease at which it is refilled.
_REFILL: Final = 0.3
#: After a refusal nobody asks for so long, even if a unit was free sooner: a share of the time in which the burst
#: fills, and seconds.
_PAUSE_SHARE: Final = 0.05
_PAUSE_S: Final = 0.05
#: A caller who was refused so often since the last question floods, for so many seconds.
_FLOOD: Final = 3
_FLOOD_S: Final = 0.5
_NEVER: Final = float("-inf")


def hold_of(burst_s: float) -> float:
    """Seconds for which a lease is meant to last, of a limit whose burst fills in *burst_s* seconds."""
    return min(_LONGEST_HOLD_S, max(HOLD_S, _HOLD_SHARE * burst_s))


class Need:
    """A request that waits for the store to be asked.

    Attributes:
        units: That it needs.
        wait_s: The answer: seconds that it has to wait; None: there is none (yet); less than 0: refused, and -1 less
            the seconds after which it would not be.
        is_over: Nobody waits for the answer any more.
        wake: Called when there is an answer, or will be none.
    """

    __slots__ = ("is_over", "units", "wait_s", "wake")

    def __init__(self, units: float, wake: Callable[[], object]) -> None:
        self.units, self.wake = units, wake
        self.wait_s: float | None = None
        self.is_over = False


class Lease:
    """One caller's, under one limit. The caller of every method says the time: monotonic seconds.

    Attributes:
        key: Of the caller, in the store.
        units: That are left to spend.
        owes: Units to book with the next question, whatever is left; less than 0: to give back.
        needs: Requests that wait for the next question.
        is_asked: A question is under way.
        is_queued: It is among those to be asked next.
        ahead_s: Seconds that were booked ahead when the store answered.
        held: Units that others held then.
        heard_at: When that was.
        look_at: When it is to be looked at.
        local: What was admitted without the store; for whoever does that.
    """

    __slots__ = (
        "_demand", "_flooded_until", "_is_sure", "_last_asked", "_refill_at", "_refusals", "_refused_units",
        "_refused_until", "_sent", "_spent", "_typical", "_until", "_version", "_wanted", "ahead_s", "heard_at", "held",
        "is_asked", "is_queued", "key", "local", "look_at", "needs", "owes", "units")

    def __init__(self, key: str) -> None:
        self.key = key
        self.units = self.owes = 0.0
        self.needs: list[Need] = []
        self.is_asked = self.is_queued = False
        self.ahead_s, self.held, self.heard_at = 0.0, 0.0, _NEVER
        self.look_at = _NEVER
        self.local = LocalUse()
        self._spent = self._demand = self._refill_at = 0.0
        self._typical, self._wanted, self._version = 1.0, 0.0, 0
        self._until = self._last_asked = _NEVER
        self._refused_until, self._refused_units = _NEVER, 0.0
        self._flooded_until, self._refusals = _NEVER, 0
        self._is_sure = False
        self._sent: tuple[list[Need], float] = [], 0.0

    # -- requests

    def spend(self, units: float, now: float) -> bool:
        """Spend so many *units*; False: they are not there."""
        self._demand += units
        if units > self.units or now >= self._until or self.needs:
            self._typical = units
            return False
        self.units -= units
        self._spent += units
        return True

    @property
    def unreported(self) -> float:
        """Units that were spent of it since the store was asked last."""
        return self._spent

    @property
    def is_low(self) -> bool:
        """Whether it should be refilled."""
        return self.units < self._refill_at

    def refusal_s(self, units: float, now: float) -> float | None:
        """Seconds after which so many *units* may be there, if the store has said that they are not; else None."""
        if now < self._refused_until and units >= self._refused_units:
            self._refusals += 1
            return self._refused_until - now
        return None

    def floods(self, now: float) -> bool:
        """Whether a request that finds no lease is refused, and the store is asked for one beside."""
        return now < self._flooded_until

    def pause_s(self, burst_s: float, now: float) -> float:
        """Seconds until the store may be asked again for a caller who floods, of a limit with this time of a burst."""
        return max(0.0, self._last_asked + min(_PAUSE_SHARE * burst_s, _PAUSE_S) - now)

    def is_idle(self, now: float) -> bool:
        """Whether nothing is lost if it is forgotten."""
        return (not self.needs and not self.is_asked and not self.is_queued and self.owes <= 0.0 and not self._spent
                and (self.units <= 0.0 or now >= self._until) and self.ahead_at(now) <= 0.0
                and self.local.owed(now) <= 0.0)

    def ahead_at(self, now: float) -> float:
        """Seconds that are booked ahead at *now*, as far as is known."""
        return max(0.0, self.ahead_s - (now - self.heard_at)) if self.ahead_s else 0.0

    def used_at(self, now: float, interval: float) -> float:
        """Units that this caller has used up at *now*, here and elsewhere, as far as is known."""
        return self.ahead_at(now) / interval + self._spent

    def unavailable_at(self, now: float, interval: float) -> float:
        """The same, and those that are set aside, here and elsewhere."""
        held = self.held if now - self.heard_at < _LONGEST_HOLD_S else 0.0
        return self.used_at(now, interval) + held + (self.units if now < self._until else 0.0)

    # -- questions

    def question(self, interval: float, burst: float, max_wait: float, now: float, *, wants: bool = True) -> str:
        """What to ask the store now: a line of booking_script.py.

        Args:
            interval: Seconds of one unit.
            burst: Units.
            max_wait: Seconds.
            now: Seconds.
            wants: Whether a further lease is welcome.
        """
        hold_s = hold_of(interval * burst)
        is_sure = self._is_sure and now < self._until
        elapsed = now - self._last_asked
        if self._last_asked == _NEVER:
            expected = max(0.0, self._demand - sum(each.units for each in self.needs))
        else:
            expected = self._demand / max(elapsed, 0.01) * hold_s
        if expected < 2.0 * self._typical:
            expected = 0.0  # it would save one question, and cost one
        needs, spent, owes = [each for each in self.needs if not each.is_over], self._spent, self.owes
        self.needs.clear()
        keeps = self.units = min(self.units, expected) if is_sure and not needs else 0.0  # it is not enough for a need
        self._spent = self._demand = self.owes = 0.0
        self._wanted = max(0.0, expected - keeps) if wants else 0.0
        self._sent, self._last_asked, self.is_asked = (needs, owes), now, True
        numbers = [interval, burst, max_wait, hold_s * _LIFETIMES * (1.0 + _MARGIN), int(is_sure), spent, keeps, owes,
                   self.ahead_at(now), self._version, self._wanted, max(1e-9, self._typical)]
        return " ".join(map(repr, numbers + [each.units for each in needs]))

    def answer(self, line: str, interval: float, burst: float, now: float) -> None:
        """What the store answers to the last question: a *line* of booking_script.py. Those who wait are woken.

        Raises:
            ValueError: It is no answer to that.
        """
        ahead, version, held, more, *waits = map(float, line.split())
        if len(waits) != len(self._sent[0]) or not all(map(isfinite, (ahead, version, held, more, *waits))):
            raise ValueError(f"the answer {line!r} is not to the question")
        (needs, _), asked, self._sent = self._sent, self._last_asked, ([], 0.0)
        self.is_asked, self._is_sure, hold_s = False, True, hold_of(interval * burst)
        self._version, self.heard_at, self.ahead_s, self.held = int(version), now, ahead, held
        self.units += more
        self._refill_at, self._until = self.units * _REFILL if more else 0.0, asked + hold_s * _LIFETIMES
        self.look_at = asked + hold_s if self.units > 0.0 else _NEVER
        self._refused_until, floor_s = _NEVER, min(_PAUSE_SHARE * burst * interval, _PAUSE_S)
        is_flood, self._refusals = self._refusals >= _FLOOD or self.floods(now), 0
        if is_flood and 2.0 * interval < floor_s and (more < self._wanted or min(waits, default=0.0) < 0.0):
            self._flooded_until = now + _FLOOD_S
            if not self.units:
                self._refused_until, self._refused_units = now + floor_s, self._typical
        else:
            self._flooded_until = _NEVER
        for need, wait_s in zip(needs, waits, strict=True):
            need.wait_s = wait_s
            if wait_s < 0.0:
                pause = max(-1.0 - wait_s, floor_s)
                if self._refused_until == _NEVER or need.units <= self._refused_units:
                    self._refused_until, self._refused_units = now + pause, need.units
            elif need.is_over:  # it went another way meanwhile
                self.owes -= need.units
            need.wake()

    def no_answer(self) -> None:
        """The store did not answer the last question, or not in time; those who wait are woken."""
        (needs, owes), self._sent = self._sent, ([], 0.0)
        self.is_asked = self._is_sure = False
        self.owes += max(0.0, owes)  # twice, at worst; what was to be given back is lost
        for need in (*needs, *self.needs):
            need.wake()
        self.needs.clear()

    def abandon(self, *, but: Need | None = None) -> None:
        """Wake those who wait for an answer that is late, *but* for one."""
        for need in (*self._sent[0], *self.needs):
            if need is not but and not need.is_over:
                need.is_over = True
                need.wake()
        self.needs = [each for each in self.needs if not each.is_over]

    def awaited(self) -> Need | None:
        """One of those who wait for the answer to the question under way; None: nobody does."""
        return next((each for each in self._sent[0] if not each.is_over), None)


class LocalUse:
    """What one instance has admitted of a caller without the store, until that is told.

    It is counted as a leaky bucket, which begins with what was used up when the store was lost: that drains first, and
    is the store's own to know. So what is told is what was admitted since, as far as it has not drained.

    Attributes:
        episode: The time without the store that this is about.
    """

    __slots__ = ("_admitted", "_at", "_level", "_per_s", "episode")

    def __init__(self) -> None:
        self.episode = 0
        self._level, self._admitted, self._at, self._per_s = 0.0, 0.0, 0.0, 0.0

    def begin(self, episode: int, used: float, per_s: float, now: float) -> None:
        """The store is lost: so many units are *used* up, and drain by *per_s* a second."""
        self._drain(now)
        self.episode, self._level, self._per_s = episode, max(self._level, used), per_s

    def add(self, units: float, now: float) -> None:
        """So many *units* were admitted; they are given back, if they are below 0."""
        self._drain(now)
        self._level, self._admitted = max(0.0, self._level + units), max(0.0, self._admitted + units)

    def owed(self, now: float) -> float:
        """Units that were admitted, have not drained, and were not told."""
        self._drain(now)
        return self._admitted

    def take(self, now: float) -> float:
        """The same, and they are told now."""
        units, self._admitted = self.owed(now), 0.0
        return units

    def _drain(self, now: float) -> None:
        if self._level:
            self._level = max(0.0, self._level - (now - self._at) * self._per_s)
            self._admitted = min(self._admitted, self._level)
        self._at = now
