"""Rate limiter: so many calls in so much time, smooth or in bursts, in the order they came.

The generic cell rate algorithm (ITU-T I.371; a leaky bucket that keeps one number).
Each call books ``per / calls`` seconds (the emission interval), and ``tat`` (the theoretical arrival
time) is until when all are booked. A call may begin up to ``burst - 1`` bookings ahead of that; one that
comes too early waits, if that takes no longer than ``max_wait``, and else is
refused and books nothing. Those who wait go in the order of arrival (core.rate_limit_queue).

A changed limit counts from the moment of the change on. What was spent before stays
spent, in calls, not in seconds: neither the number of calls that the burst lacks nor
their share of it falls by a change, but a burst cannot lack more than all its calls.
Nothing of the burst becomes free that was used up, and the next call comes after one
emission interval of the new limit at the latest. Those who wait keep their order. If a turn comes later
than ``max_wait`` under the new limit, its caller is refused at once, as a newcomer would be.

With ``by`` each key has a pace of its own. A key that owes nothing is as good
as new, and the first to be forgotten when there are ``max_keys``. If none is idle,
all further keys share one pace, until there is room again: to forget one that is
in debt would give it a fresh burst.

Where calls have a cost (core.rate_cost) the limit counts units instead of calls: a call books ``cost`` emission
intervals, and what it really took is settled when it ends.

Between reading ``tat`` and writing it nothing is called and nothing jumps back.
So neither a signal handler nor another thread can come between: CPython looks for
both at such places only. The compiled wrapper has the case of a call that need not
wait written out, without the lock; a limit by keys or by cost has ``burst_tolerance`` at -inf, which
leads it here.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from math import inf
from typing import Any, Final

from ..errors import RateLimitedError
from .aimd import AimdShare
from .callbacks import call_back, check_hashable
from .locks import Lock
from .outcome import BUSY, SUCCESS
from .rate_cost import Booking, units_of
from .rate_limit import RateLimit, is_written_out
from .rate_limit_queue import LEFT, REFUSED, WAITING, CellRateState, Rate, Reservation

#: Share of an emission interval by which a call may be early: the sum of a whole burst may be off by so much.
ROUNDING: Final = 1e-6
#: Seconds by which a turn may come later than ``max_wait`` before that is taken for a debt, and not for rounding.
_SLACK_S: Final = 1e-6
_LOOKS: Final = 8  # keys to look at for an idle one: a bound for one call's work


def _rate(config: RateLimit, share: float) -> Rate:
    """The rate of a *share* of what *config* says."""
    burst = config.burst or config.calls
    return Rate(config.per / config.calls / share, max(1, int(burst * share)))


class RateLimiter:
    """The machine of a RateLimit: a pacer. Every method may be called from any thread, and by a signal handler.

    Attributes:
        config: The policy in force.
        pace: The line of all calls, unless there are keys.
        emission_interval: Seconds that each call books.
        burst_tolerance: How long before its theoretical arrival time a call may begin, seconds, with the
            rounding; -inf: ask reserve().
        hears_ends: Whether a wrapper reports how calls end, as an adaptive limit needs.
        settles_costs: Whether a wrapper settles what calls really took, as a limit by cost needs.
        shadow: Called for each call that would have been refused, in shadow mode; then nobody waits either. None:
            refuse it.
    """

    __slots__ = (
        "_ahead",
        "_epoch",
        "_key",
        "_lines",
        "_lock",
        "_overflow",
        "_paces",
        "_rate",
        "_share",
        "burst_tolerance",
        "config",
        "emission_interval",
        "hears_ends",
        "pace",
        "settles_costs",
        "shadow",
    )

    def __init__(self, config: RateLimit, *, key: str, now: float) -> None:
        """Start with nothing booked.

        Args:
            config: How many calls in how much time.
            key: Named in refusals.
            now: Seconds on the clock that every method is told.
        """
        self._key = key
        self._share = AimdShare()
        self._rate = _rate(config, 1.0)
        self.pace, self._overflow = CellRateState(self._rate, now), CellRateState(self._rate, now)
        self._lines: dict[CellRateState, None] = {}  # in which somebody waits, and perhaps some others
        self._paces: OrderedDict[Hashable, CellRateState] = OrderedDict()  # least recently used first
        self.shadow: Callable[[], object] | None = None
        self.hears_ends = self.settles_costs = False
        self._epoch = 0
        self._set(config)
        self.renew(now)

    @property
    def keys(self) -> int:
        """How many keys are remembered."""
        return len(self._paces)

    def reserve(self, now: float, args: tuple[Any, ...] = (),
                kwargs: Mapping[str, Any] | None = None) -> Reservation | None:
        """Ask to start one call.

        Args:
            now: Seconds on any monotonic clock, the same one for every call.
            args: The call's, for ``by``.
            kwargs: See args.

        Returns:
            None: go ahead. Or a reservation: go ahead at its ``at``, or call withdraw() before.

        Raises:
            RateLimitedError: The turn would come later than ``max_wait``.
            TypeError: The key cannot be hashed.
        """
        config = self.config
        pace = self.pace if config.by is None else self._pace_of(call_back(config.by, args, kwargs), now)
        return self._ask(pace, units_of(config.cost, args, kwargs, self._key), now)

    def book(self, now: float, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Booking:
        """Ask to start one call whose cost will be corrected; see reserve(), and core.rate_cost for the rest."""
        config = self.config
        units = units_of(config.cost, args, kwargs, self._key)
        key = None if config.by is None else call_back(config.by, args, kwargs)
        pace = self.pace if config.by is None else self._pace_of(key, now)
        epoch = self._epoch
        return Booking(pace, key, units, self._ask(pace, units, now), epoch)

    def correct(self, booking: Booking, units: float, now: float) -> None:
        """Book so many *units* more for a call that has begun, or give back as many if they are below zero."""
        if booking.epoch != self._epoch:
            return
        pace, keyed = booking.pace, self.config.by is not None and booking.pace is not self.pace
        if units > 0.0 and keyed:  # the line may have been forgotten since, when it owed nothing
            pace = self._pace_of(booking.key, now)
        with self._lock:
            self._follow(pace)
            woken = pace.pass_on(now, self.emission_interval, self._ahead)
            pace.move(units * self.emission_interval, now)
            woken += pace.pass_on(now, self.emission_interval, self._ahead)
        if woken:
            self._wake(woken, now)

    def _ask(self, pace: CellRateState, units: float, now: float) -> Reservation | None:
        if pace.first is not None:
            self._pass_on(pace, now)
        shadow = self.shadow
        with self._lock:
            if pace.rate.later is not None:  # the limit was changed just now
                self._follow(pace)
            tat = pace.tat
            start = tat if tat > now else now
            wait = start - max(0.0, self._ahead + (1.0 - units) * self.emission_interval) - now
            if wait <= ROUNDING * self.emission_interval:
                pace.tat = start + units * self.emission_interval
                return None
            if wait <= self.config.max_wait:
                if shadow is None:
                    turn = Reservation(pace, now, units)
                    pace.join(turn, now, self.emission_interval, self._ahead)
                    self._lines[pace] = None
                    return turn
                if pace.first is None:  # else it would be taken for the last one's turn; see ``planned``
                    pace.tat = start + units * self.emission_interval
                return None
        if shadow is None:
            raise RateLimitedError(self._key, wait - self.config.max_wait)
        shadow()
        return None

    def look(self, turn: Reservation, now: float) -> float:
        """How long the caller who waits for *turn* should sleep before looking again, unless woken.

        Args:
            turn: As reserve() returned it, with its ``wake`` set.
            now: See reserve().

        Returns:
            Seconds; 0: the turn has come.

        Raises:
            RateLimitedError: The limit was changed, or calls took more than they had booked, and the turn would come
                later than ``max_wait``.
        """
        pace = turn.pace
        self._pass_on(pace, now, but=turn)
        with self._lock:
            late, most = False, turn.asked + self.config.max_wait + _SLACK_S
            end, debts = pace.tat - self._ahead, self.config.true_cost is not None
            if turn.state == WAITING and pace.first is turn:
                turn.at = pace.at_head(self.emission_interval, self._ahead)
                late = debts and turn.at > most
            elif turn.state == WAITING and turn.at <= now:  # so late only if the limit was lowered, or for a debt
                late = debts and now >= most
                turn.at = max(end - self.emission_interval, now + self.emission_interval)
                if debts and not late:
                    turn.at = min(turn.at, most)
            if late:
                pace.leave(turn, REFUSED, self.emission_interval)
            state = turn.state
        if late:
            self._pass_on(pace, now)
        if state == REFUSED:
            raise RateLimitedError(self._key, max(0.0, end - now - self.config.max_wait))
        return max(0.0, turn.at - now) if state == WAITING else 0.0

    def withdraw(self, turn: Reservation, now: float) -> None:
        """End the wait of a caller that has given up; those behind it move up."""
        self._pass_on(turn.pace, now, leaving=turn)

    @property
    def share(self) -> float:
        """The part of the rate that is in force; less than 1 after the target was busy, if the limit is adaptive."""
        return self._share.share

    def settle(self, outcome: int, started: float, now: float) -> None:
        """Report how a call of an adaptive limit, begun at *started*, ended. Never raises."""
        share = self._share
        if outcome != BUSY and (outcome != SUCCESS or share.share >= 1.0):
            return
        with self._lock:
            changed = share.busy(started, now) if outcome == BUSY else share.good(now)
        if changed:
            self.configure(self.config, now)

    def configure(self, config: RateLimit, now: float) -> None:
        """Go on under *config*, those who wait too; what was spent stays spent."""
        woken: list[Reservation] = []
        with self._lock:
            for pace in list(self._lines):
                woken += pace.pass_on(now, self.emission_interval, self._ahead)
            if not config.adaptive:
                self._share.clear()
            shorter, old, new = config.max_wait < self.config.max_wait, self._rate, _rate(config, self._share.share)
            if (new.emission_interval, new.burst) == (old.emission_interval, old.burst):
                self._set(config)
            else:
                self._switch(config, new, now)
            for pace in list(self._lines) if shorter or old is not self._rate else ():
                woken += pace.plan_anew(config.max_wait, self.emission_interval, self._ahead)
                woken += pace.pass_on(now, self.emission_interval, self._ahead)
            self._shrink(now)
        self._wake(woken, now)

    def renew(self, now: float) -> None:
        """Start over in a forked child, where none of the other threads' calls goes on."""
        self._lock = Lock()
        for pace in (self.pace, self._overflow, *self._lines):
            pace.renew(now)  # wrappers hold on to the first
        self._lines.clear()
        self._paces.clear()
        self._epoch += 1
        self._relearn(now)

    def clear(self, now: float) -> None:
        """Forget what is booked, except in lines in which somebody waits, and what an adaptive limit has learnt."""
        woken: list[Reservation] = []
        self._relearn(now)
        with self._lock:
            self._epoch += 1
            for pace in list(self._lines):
                woken += pace.pass_on(now, self.emission_interval, self._ahead)
            for pace in (self.pace, self._overflow):
                if pace.first is None:
                    pace.tat = now
            for key in [key for key, pace in self._paces.items() if pace.first is None]:
                self._paces.pop(key, None)
        self._wake(woken, now)

    def hand_on(self, now: float) -> None:
        """In shadow mode, in which nobody waits, let those go who wait."""
        if self.shadow is None:
            return
        with self._lock:
            woken = [turn for pace in list(self._lines) for turn in pace.release()]
            self._lines.clear()
        self._wake(woken, now)

    def _relearn(self, now: float) -> None:
        if self._share.share < 1.0:
            self._share.clear()
            self.configure(self.config, now)

    def _pass_on(self, pace: CellRateState, now: float, *, leaving: Reservation | None = None,
                 but: Reservation | None = None) -> None:
        """Let those go whose turn has come, and end the wait of the one *leaving*; wake all *but* one."""
        with self._lock:
            woken = pace.pass_on(now, self.emission_interval, self._ahead)
            if leaving is not None:
                pace.leave(leaving, LEFT, self.emission_interval)
                woken += pace.pass_on(now, self.emission_interval, self._ahead)
            if pace.first is None:
                self._lines.pop(pace, None)
        if woken:
            self._wake(woken, now, but)

    def _wake(self, woken: list[Reservation], now: float, but: Reservation | None = None) -> None:
        for turn in woken:  # which may grow meanwhile
            wake = turn.wake
            if wake is None or turn is but:
                continue
            try:
                wake()
            except RuntimeError:  # its event loop is closed: nobody waits
                with self._lock:
                    turn.pace.leave(turn, LEFT, self.emission_interval)
                    woken += turn.pace.pass_on(now, self.emission_interval, self._ahead)

    def _switch(self, config: RateLimit, rate: Rate, now: float) -> None:
        """Go over to another *rate*; the keys for which nobody waits follow when they are looked at."""
        old = self._rate
        old.until, old.later = now, rate
        self._follow(self.pace, config)
        for pace in (self._overflow, *self._lines):
            self._follow(pace)
        # A few of those that were not used for longest with each change: or one would keep all that was ever said.
        for key, pace in list(itertools.islice(self._paces.items(), _LOOKS)):
            self._follow(pace)
            if pace.tat <= now:
                self._paces.pop(key, None)
            else:
                self._paces.move_to_end(key)

    def _follow(self, pace: CellRateState, config: RateLimit | None = None) -> None:
        """Bring *pace* to the limit that is in force; with *config*, the limit comes into force in the same step."""
        written_out = config is not None and is_written_out(config)
        while (later := pace.rate.later) is not None:
            rate, tat, base, waiting = pace.rate, pace.tat, pace.base, pace.waiting
            until = rate.moved(base if waiting else tat, later)
            # Without a call to the end: a wrapper must find the old of everything, or the new.
            if pace.rate is rate and pace.tat == tat and pace.base == base and pace.waiting == waiting:
                pace.rate, pace.base = later, until
                pace.tat = pace.planned = until + waiting * later.emission_interval
                if config is not None:
                    self.config, self._rate, self.emission_interval = config, later, later.emission_interval
                    self._ahead = later.emission_interval * (later.burst - 1)
                    slack = ROUNDING * later.emission_interval
                    self.burst_tolerance = self._ahead + slack if written_out else -inf

    def _set(self, config: RateLimit) -> None:
        self.config, self.emission_interval = config, self._rate.emission_interval
        self._ahead = self.emission_interval * (self._rate.burst - 1)
        self.burst_tolerance = self._ahead + ROUNDING * self.emission_interval if is_written_out(config) else -inf

    def _pace_of(self, key: Hashable, now: float) -> CellRateState:
        try:
            with self._lock:
                pace = self._paces.get(key)
                if pace is None:
                    if len(self._paces) >= self.config.max_keys and not self._forget_one(now):
                        return self._overflow
                    pace = self._paces[key] = CellRateState(self._rate, now)
                else:
                    self._paces.move_to_end(key)
                return pace
        except TypeError:
            check_hashable(key, "by", self._key)
            raise

    def _forget_one(self, now: float) -> bool:
        """Make room for a key. False: each of the keys looked at still owes something."""
        for _ in range(min(_LOOKS, len(self._paces))):
            key, pace = next(iter(self._paces.items()))
            self._follow(pace)
            if pace.tat <= now:
                self._paces.pop(key, None)
                return True
            self._paces.move_to_end(key)
        return False

    def _shrink(self, now: float) -> None:
        for key, pace in list(self._paces.items()) if len(self._paces) > self.config.max_keys else ():
            if len(self._paces) <= self.config.max_keys:
                return
            self._follow(pace)
            if pace.tat <= now:
                self._paces.pop(key, None)
