"""Adaptive limit: a bulkhead that finds its own size.

The permits are a bulkhead's tokens (see bulkhead.py for how one is taken and
given back without a lock); a call that ends leaves its time in a small ring, which
is one step in C. Once a window the ring is read by whoever settles then, under a
lock, and limit_estimator.py says how large the bulkhead should be. So nearly
every call takes no lock at all.

After the limit changed by more than a tenth nothing is read for two calls' times:
until then those end that were let in by the old limit. Reading only calls that
*began* since would be wrong the other way, for the short ones end first.

What ended without an answer of the target (refused by an inner gate, ignored,
cancelled) gives its token back and leaves no time. Failures are not read either,
for they are often fast, unless they are counted as lost.

A level of importance may use the share of the limit that the levels above leave
it; level 0 may use all. A caller that finds no token may wait in a short
queue (admission_queue.py), and whoever gives a token back hands it to a waiter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from math import inf
from typing import Final, Literal

import attrs

from ..errors import BulkheadFullError, ConfigError
from .admission_queue import FAIR_AFTER, LEVELS, AdmissionQueue, Ticket, level_of
from .bulkhead import TOKEN, Bulkhead, Slots
from .callable_identity import by_identity
from .checks import flag, number, one_of, strict
from .limit_estimator import ALGORITHMS, LimitEstimator, Reading
from .outcome import BUSY, CUT_SHORT, SUCCESS, TIMEOUT
from .reentrance import ReentryGuard
from .references import as_function, function_in_file, function_or_none
from .stalls import NO_STALLS, Stalls

RING: Final = 100  # calls that are read at most: a median of more is hardly better
SAME: Final = 0.1  # a limit that changed by less than this share is the same
SETTLES: Final = 2.0  # times a call's time until calls show what another limit does: the old ones end, new ones come
PATIENCE: Final = 10  # windows after which one with too few calls is thrown away


@strict
@attrs.frozen(kw_only=True)
class AdaptiveLimit:
    """Adaptive concurrency limit: a bulkhead that measures how many calls at once its target can take.

    It stands in the place of a Bulkhead. Immutable: any number of commands and threads may share one.

    Attributes:
        algorithm: How the limit is estimated: "gradient" or "vegas" from latencies, "aimd" from lost calls alone.
        initial: Limit to begin with (Netflix concurrency-limits: 20).
        min_limit: Smallest value that the limit may take.
        max_limit: Largest value that the limit may take (Netflix's Vegas: 1000).
        tolerance: Ratio of the present latency to the latency of the idle target above which the limit shrinks
            (Netflix's Gradient2: 1.5).
        smoothing: Share of each computed change that is applied, above 0 to 1.
        window: Shortest time between two changes of the limit, seconds. If a call takes more than half of it, twice the
            call's time is used.
        min_calls: Number of calls that a window must hold before the limit changes. The median of fewer than 20 is off
            by more than a quarter.
        probe_every: Seconds between two measurements of the latency at a low limit (TCP BBR: 10).
        loss_tolerance: Share of lost calls that a window may hold without shrinking the limit, 0 to below 1.
        slow_call: Seconds from which on a call counts as lost; None: only calls that time out do.
        count_failures: Whether failed calls count as lost. Set it where the target answers overload with an error.
        priorities: Function that is called with the call's arguments and returns its priority, 0 (most important) to 9.
        reserved: Share of the limit that each priority leaves free for more important calls, 0 to below 1.
        max_queue: Number of calls that may wait for a free slot.
        max_queue_for: Longest time that a call may wait for one, seconds (Facebook's controlled delay: 0.1).
        fair_by: Function that is called with the call's arguments and returns a key, such as a tenant. Those that wait
            with one priority get slots in turn, key by key; needs ``max_queue``.
    """

    algorithm: Literal["gradient", "vegas", "aimd"] = attrs.field(default="gradient", validator=one_of(*ALGORITHMS))
    initial: int = attrs.field(default=20, validator=number(least=1, most=1_000_000, whole=True))
    min_limit: int = attrs.field(default=1, validator=number(least=1, most=1_000_000, whole=True))
    max_limit: int = attrs.field(default=1000, validator=number(least=1, most=1_000_000, whole=True))
    tolerance: float = attrs.field(default=1.5, validator=number(above=1, most=100))
    smoothing: float = attrs.field(default=0.5, validator=number(above=0, most=1))
    window: float = attrs.field(default=0.1, validator=number(least=0.001, most=3600))
    min_calls: int = attrs.field(default=20, validator=number(least=1, most=RING, whole=True))
    probe_every: float = attrs.field(default=10.0, validator=number(above=0))
    loss_tolerance: float = attrs.field(default=0.05, validator=number(least=0, most=0.99))
    slow_call: float | None = attrs.field(default=None, validator=number(above=0, optional=True))
    count_failures: bool = attrs.field(default=False, validator=flag)
    priorities: Callable[..., int] | None = attrs.field(
        default=None, converter=as_function, validator=function_or_none, eq=by_identity,
        metadata=function_in_file())
    reserved: float = attrs.field(default=0.1, validator=number(least=0, most=0.99))
    max_queue: int = attrs.field(default=0, validator=number(least=0, most=1_000_000, whole=True))
    max_queue_for: float = attrs.field(default=0.1, validator=number(above=0))
    fair_by: Callable[..., Hashable] | None = attrs.field(
        default=None, converter=as_function, validator=function_or_none, eq=by_identity,
        metadata=function_in_file())

    def __attrs_post_init__(self) -> None:
        if self.min_limit > self.max_limit:
            raise ConfigError(f"min_limit must be at most max_limit ({self.max_limit}), not {self.min_limit}",
                              "min_limit")
        if not self.min_limit <= self.initial <= self.max_limit:
            raise ConfigError(f"initial must be from min_limit ({self.min_limit}) to max_limit ({self.max_limit}), "
                              f"not {self.initial}", "initial")


class AdaptiveLimiter:
    """The machine of an AdaptiveLimit: a gate. Every method may be called from any thread, and by a signal handler.

    Attributes:
        slots: The bulkhead: which calls are in flight, and how many may be.
        queue: Who waits.
        shadow: Called for each call that would have been refused, in shadow mode; None: refuse it.
    """

    __slots__ = (
        "_config",
        "_guard",
        "_kept",
        "_key",
        "_note",
        "_peaks",
        "_ring",
        "_since",
        "_slow_s",
        "_stalls",
        "_until",
        "_window_at",
        "estimator",
        "queue",
        "shadow",
        "slots",
    )

    def __init__(self, config: AdaptiveLimit, *, key: str, now: float, slots: Slots | None = None,
                 stalls: Stalls = NO_STALLS) -> None:
        """Start at ``config.initial``.

        Args:
            config: How to find the limit.
            key: Named in refusals.
            now: Seconds on the clock that every method is told.
            slots: The bulkhead to steer; None: one of its own.
            stalls: Times that calls lost by no fault of the target.
        """
        self._config, self._key, self._stalls = config, key, stalls
        self.shadow: Callable[[], object] | None = None
        self.slots = Slots(Bulkhead(config.initial), key=key) if slots is None else slots
        self._peaks = [0, 0]  # most in flight that our own and the other reader have not heard of
        self._guard = ReentryGuard()
        self._begin(now)

    @property
    def limit(self) -> int:
        """Calls admitted at once now."""
        return self.slots.limit or 0

    @property
    def in_flight(self) -> int:
        """Calls that hold a permit now."""
        return self.slots.in_flight

    @property
    def waiting(self) -> int:
        """Calls in the queue now."""
        return len(self.queue.crowd)

    def acquire(self, now: float, priority: int = 0) -> list[None]:
        """Ask to start one call.

        Args:
            now: Seconds on any monotonic clock, the same one for every call.
            priority: How important it is; 0 is the most.

        Returns:
            A permit. Pass it to settle() exactly once.

        Raises:
            BulkheadFullError: The limit, or this level's share of it, is reached.
        """
        taken: list[list[None]] = []
        self.take(taken, priority)
        return taken[0]

    def take(self, taken: list[list[None]], priority: int | None = None) -> None:
        """Take a permit and note it in *taken*, in one step that no signal can split.

        Args:
            taken: Where to note it.
            priority: How important the call is; None: as important as all others.

        Raises:
            BulkheadFullError: The limit, or this level's share of it, is reached.
        """
        slots = self.slots
        if slots.owed:
            slots.collect()
        sack, favoured = slots.tokens, False
        try:
            if priority is not None and priority > 0 and len(sack) <= self._kept[level_of(priority)]:
                if self.queue.passed < FAIR_AFTER:
                    raise BulkheadFullError(self._key)
                favoured = True
            del sack[-1]
            taken += (sack,)
        except (IndexError, BulkheadFullError):
            shadow = self.shadow
            if shadow is None:
                raise self.full() from None
            slots.take_anyway(taken)
            shadow()
        if priority is not None:
            self.queue.passed = 0 if favoured else self.queue.passed + 1
        free = len(sack)
        if free < slots.least_free:  # noqa: PLR1730 (min() would be a call)
            slots.least_free = free

    def full(self) -> BulkheadFullError:
        """Return the error for a call that gets no permit."""
        return BulkheadFullError(self._key, None, self.limit, 0, self.in_flight, self.waiting)

    def settle(self, permit: list[None], outcome: int, started: float, now: float) -> None:
        """Give the permit back and report how the call, begun at *started*, ended. Never raises."""
        permit += TOKEN
        self.report(outcome, started, now)

    def report(self, outcome: int, started: float, now: float) -> None:
        """Do the rest of settle() for a caller that has given the permit back itself (``permit += TOKEN``)."""
        if (outcome <= TIMEOUT or outcome in (CUT_SHORT, BUSY)) and now >= self._since:
            took = now - started
            if started < self._stalls.until and self._stalls.excuses(started, now):
                pass  # its time was not the target's
            elif outcome == SUCCESS:
                self._note(took if took < self._slow_s else -took)
            elif outcome in (TIMEOUT, CUT_SHORT):
                if outcome == TIMEOUT or took >= self._slow_s:
                    self._note(-took)
            elif outcome == BUSY:
                self._note(-inf)  # how quickly it said so tells nothing about its work
            elif self._config.count_failures:
                self._note(-inf)
        if now >= self._until:
            self._guard.ask(self._read, now)
        if self.queue.crowd:
            self.hand_on(now)

    def enqueue(self, ticket: Ticket, now: float) -> None:
        """Let *ticket* wait for a permit, or have one at once.

        Its owner then waits until ``wake`` is called, or until ``ticket.until``, calls
        withdraw(), and has a permit in ``ticket.taken``, or has been refused.

        Raises:
            BulkheadFullError: The queue is full.
        """
        victim = self.queue.join(ticket, now)
        if victim is ticket:
            raise self.full()
        if victim is not None:
            self.queue.wake(victim)
        if self.slots.tokens or self.shadow is not None:  # one came back between the refusal and the queue
            self.hand_on(now)

    def withdraw(self, ticket: Ticket) -> None:
        """End the wait of *ticket*; to be called however the wait ended. A permit in ``ticket.taken`` stays there."""
        self.queue.close(ticket)

    def hand_on(self, now: float) -> None:
        """Give free tokens to waiters; in shadow mode, in which nobody waits, to all."""
        slots, queue = self.slots, self.queue
        while queue.crowd:
            if slots.owed:
                slots.collect()
            favoured = queue.favoured()
            level = queue.first_level() if favoured is None else favoured.level
            sack = slots.tokens
            if level is None:
                return
            if self.shadow is not None:
                try:
                    if not sack:
                        slots.run_out()
                except BulkheadFullError:  # the mode has changed, just now
                    return
            elif len(sack) <= (self._kept[level] if favoured is None else 0):
                return
            if not queue.grant(slots, level, now, oldest=favoured is not None):  # another thread was faster
                return

    def take_peak(self) -> int:
        """Most calls in flight at once since the last take; instead of the bulkhead's own, which it reads itself."""
        return self._peak(1)

    def _peak(self, reader: int) -> int:
        peak, peaks = self.slots.take_peak(), self._peaks
        self._peaks = [max(peak, peaks[0]), max(peak, peaks[1])]
        most, self._peaks[reader] = self._peaks[reader], 0
        return most

    def configure(self, config: AdaptiveLimit, now: float) -> None:
        """Go on under *config*; the limit stays as far as it may, and what was learnt."""
        woken = self.queue.configure(config.max_queue, config.max_queue_for)
        self._guard.do(self._adopt, config, now)
        for ticket in woken:
            self.queue.wake(ticket)
        if self.queue.crowd:
            self.hand_on(now)

    def clear(self, now: float) -> None:
        """Forget what was learnt, and return to the initial limit. Calls in flight and waiting callers go on."""
        self._guard.do(self._clear, now)
        if self.queue.crowd:
            self.hand_on(now)

    def renew(self, now: float) -> None:
        """Start over in a forked child, where none of the other threads' calls goes on."""
        self.slots.configure(Bulkhead(self._config.initial))
        self.slots.renew()
        self._guard.renew()
        self._begin(now)

    def steer(self) -> None:
        """Have the bulkhead go by this limit, whatever was done to it since this was made."""
        self._guard.do(self._resize)

    def _begin(self, now: float) -> None:
        config = self._config
        self._ring: deque[float] = deque(maxlen=RING)  # seconds; below zero: lost
        self._note = self._ring.append
        self._slow_s = inf if config.slow_call is None else config.slow_call
        self.queue = AdmissionQueue(config.max_queue, config.max_queue_for, fair=config.fair_by is not None)
        self.estimator = LimitEstimator(config, now)
        self._resize()
        self._since = self._window_at = now
        self._until = now + self.estimator.span_s

    # -- under the lock

    def _adopt(self, config: AdaptiveLimit, now: float) -> None:
        self._config = config
        self.estimator.configure(config, now)
        self._slow_s = inf if config.slow_call is None else config.slow_call
        self._until = self._window_at + self.estimator.span_s
        self._resize()

    def _clear(self, now: float) -> None:
        self._ring.clear()
        self.estimator = LimitEstimator(self._config, now)
        self._resize()
        self._since = self._window_at = now
        self._until = now + self.estimator.span_s

    def _read(self, now: float) -> None:
        if now < self._until:  # another thread was faster
            return
        ring, span_s, most = self._ring, now - self._window_at, self._peak(0)
        if len(ring) < self._config.min_calls:
            if span_s < PATIENCE * self.estimator.span_s:
                return
            self.estimator.give_up(now)
        else:
            self.estimator.read(self._reading(list(ring), span_s, most), now)
        ring.clear()
        changed = self._resize()
        self._since = self._window_at = now + self.estimator.rtt_s * SETTLES if changed else now
        self._until = self._window_at + self.estimator.span_s

    def _reading(self, times: list[float], span_s: float, most: int) -> Reading:
        lost = sum(time < 0 for time in times)
        timed = sorted(abs(time) for time in times if time != -inf)
        median_s = timed[len(timed) // 2] if timed else self.estimator.rtt_s
        return Reading(median_s=median_s, lost=lost / len(times), most=most, span_s=span_s)

    def _resize(self) -> bool:
        """Give the bulkhead the limit that was estimated. Return whether that changed it much."""
        config, old = self._config, self.limit
        self.estimator.limit = min(max(self.estimator.limit, float(config.min_limit)), float(config.max_limit))
        new = int(self.estimator.limit)
        if new != old:
            self.slots.configure(Bulkhead(new))
        self._kept = self._shares(new)
        return abs(new - old) > SAME * old

    def _shares(self, limit: int) -> tuple[int, ...]:
        """Tokens that each level leaves to those above it; the last one is for whoever comes first."""
        left = 1.0 - self._config.reserved
        return tuple(limit - max(1, int(limit * left ** level)) for level in range(LEVELS))
