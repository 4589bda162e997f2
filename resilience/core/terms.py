"""Terms: one class per state of a circuit, one object per stay in it; see circuit.py, whose machine they are.

A term is the permit of the calls that it admitted, weighs their results, and
says which trigger they pull; the Circuit looks up what follows from it. The
caller of every method but ``bump`` holds the circuit's lock.

A share of failures needs ``min_calls`` within the window. Where calls are rarer
than that, a target may be down for hours and no share will say so. There a run of
failures speaks: ``sustained_failures`` in a row, without a success in between,
that last as long as the window. A target that fails now and then has such runs by
chance; so the run must be one that chance would make once in a million, given the
share of calls that failed before it in this term. Without enough calls before it
that share is taken to be low (as if ``min_calls`` good ones had come first), and
``min_calls`` failures in a row are enough in any case. Successes that are tallied
without a lock are learnt of when the next failure is weighed, which is in time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, ClassVar, Final

from .breaker import time_open
from .events import State, Trigger
from .in_flight_cohorts import Cohorts
from .stalls import NO_STALLS, Stalls
from .window import CountWindow, Tally, TimeWindow

if TYPE_CHECKING:
    from .breaker import CircuitBreaker

#: Up to which probability a run of failures is no chance.
_CHANCE: Final = 1e-6
#: Calls that the share of failures before a run is of, at most; once there are more, those so far count half.
_MEMORY: Final = 1000.0

# Columns of a closed term's window. Slow and failed are counted apart: one call, one column.
GOOD, BAD, SLOW_GOOD, SLOW_BAD = range(4)


class Term:
    """One stay in one state."""

    __slots__ = ("bump", "cohort", "free_until", "lock_free_until", "refuses_until", "seq", "since", "standing",
                 "until")
    state: ClassVar[State]
    bump: Callable[[], object]  # tallies one good and fast result; called only before lock_free_until
    passes: ClassVar[bool] = False  # lets every call pass
    ends_by: Trigger = Trigger.WAIT_ELAPSED  # why it ends at ``until``

    def __init__(self, seq: int, now: float) -> None:
        self.seq, self.since = seq, now
        self.free_until = inf if self.passes else -inf  # until when a call may pass without asking
        self.until = inf  # when a caller may end this term by asking for a permit
        self.refuses_until = -inf  # until when there is nothing to ask: the answer is no
        self.lock_free_until = -inf  # until when a good and fast result needs no lock
        self.standing: tuple[str, float, str, float] | None = None  # why calls are refused; see Circuit._stand
        self.cohort: list[None] | None = None  # where a call is counted while it is under way; look() weighs those

    def look(self, now: float) -> Trigger | None:
        """Weigh the calls that are under way. The caller holds the lock."""
        return None

    def record(self, column: int, now: float) -> Trigger | None:
        """Weigh one result. The caller holds the lock."""
        return None


class Closed(Term):
    """All calls are admitted, and how they end is weighed."""

    __slots__ = ("_bad", "_cohorts", "_config", "_good", "_in_a_row", "_run_since", "_stalls", "_tally", "_window",
                 "horizon", "weighed")
    state = State.CLOSED
    passes = True
    watches: ClassVar[bool] = True  # the calls under way, if they can be slow

    def __init__(self, seq: int, now: float, config: CircuitBreaker, horizon: Callable[[], float],
                 previous: Closed | None = None, stalls: Stalls = NO_STALLS) -> None:
        super().__init__(seq, now)
        self.horizon, self._stalls = horizon, stalls
        self._tally = Tally()
        self.bump = self._tally.bump
        self._config = config
        self._cohorts: Cohorts | None = None
        self._in_a_row = 0  # failures
        self._run_since = now  # when the first of them ended
        self._good = self._bad = 0.0  # calls before them, see _end_run
        self.weighed: tuple[int, int, int, float] | None = None  # calls, failed, slow and seconds that pulled a trigger
        self._window: TimeWindow | CountWindow
        if previous is not None:
            previous.harvest()
            self._window, self._in_a_row, self._run_since = previous._window, previous._in_a_row, previous._run_since
            self._good, self._bad = previous._good, previous._bad
        else:
            self._window = _empty_window(config, now)
        self._watch(now)
        if stalls.look_every < inf:
            self.free_until = -inf  # the first call asks, so that its loop is watched
        self._be_calm(any(self._window.sums(now)[1:]))

    def look(self, now: float) -> Trigger | None:
        config, cohorts, late = self._config, self._cohorts, 0
        if cohorts is not None and config.slow_call is not None and now >= cohorts.edge:
            late = cohorts.turn(config.slow_call, now, self._stalls)
            self.cohort = cohorts.running
        self._let_pass(now)
        if not late:
            return None
        good, bad, slow_good, slow_bad = self.counts(now)
        calls = good + bad + slow_good + slow_bad + late
        if calls >= config.min_calls and (slow_good + slow_bad + late) / calls >= config.slow_rate:
            self.weighed = calls, bad + slow_bad, slow_good + slow_bad + late, 0.0
            return Trigger.SLOW_RATE
        return None

    def _watch(self, now: float) -> None:
        config = self._config
        if not self.watches or config.slow_call is None or not config.slow_in_flight:
            self._cohorts, self.cohort = None, None
        else:
            cohorts = self._cohorts
            if cohorts is None:
                self._cohorts = cohorts = Cohorts(config.slow_call, now)
            elif cohorts.slow_call != config.slow_call:
                cohorts.turn(config.slow_call, now, self._stalls)
            self.cohort = cohorts.running
        self._let_pass(now)

    def _let_pass(self, now: float) -> None:
        """Say until when calls need not ask."""
        edge = inf if self._cohorts is None else self._cohorts.edge
        self.free_until = min(edge, now + self._stalls.look_every)

    def record(self, column: int, now: float) -> Trigger | None:
        self.harvest()
        self._window.add(column, now)
        good, bad, slow_good, slow_bad = self._window.sums(now)
        self._be_calm(bad or slow_good or slow_bad)
        config = self._config
        if column in (BAD, SLOW_BAD):
            if not self._in_a_row:
                self._run_since = now
            self._in_a_row += 1
        elif self._in_a_row:
            self._end_run(1)
        else:
            self._good += 1
        run, calls = self._in_a_row, good + bad + slow_good + slow_bad
        if config.consecutive is not None and run >= config.consecutive:
            self.weighed = run, run, 0, now - self._run_since
            return Trigger.CONSECUTIVE
        if calls >= config.min_calls:
            failed, slow = bad + slow_bad, slow_good + slow_bad
            if config.failure_rate is not None and failed / calls >= config.failure_rate:  # .55 * 100 is more than 55
                self.weighed = calls, failed, slow, 0.0
                return Trigger.FAILURE_RATE
            if config.slow_call is not None and slow / calls >= config.slow_rate:
                self.weighed = calls, failed, slow, 0.0
                return Trigger.SLOW_RATE
        if run > 1 and now - self._run_since >= config.window and self._is_no_chance(run):
            self.weighed = run, run, 0, now - self._run_since
            return Trigger.SUSTAINED_FAILURES
        return None

    def _is_no_chance(self, run: int) -> bool:
        """Whether so many failures in a row are as many as are asked for, and too many to be chance."""
        config = self._config
        if config.sustained_failures is None or run < config.sustained_failures or config.failure_rate is None:
            return False
        usual = self._bad / (self._good + self._bad + config.min_calls)
        return run >= config.min_calls or usual**run <= _CHANCE

    def _end_run(self, good: int) -> None:
        """So many *good* calls have ended a run of failures, if there was one."""
        self._good += good
        self._bad += self._in_a_row
        self._in_a_row = 0
        calls = self._good + self._bad
        if calls > _MEMORY:
            self._good, self._bad = self._good / calls * _MEMORY / 2, self._bad / calls * _MEMORY / 2

    def harvest(self) -> None:
        """Bring the tallied calls into the slice they happened in."""
        fresh = self._tally.take()
        if fresh:
            self._end_run(fresh)
            self._window.add(GOOD, self.since, fresh)  # a time in the past: the running slice

    def counts(self, now: float) -> Sequence[int]:
        """Calls in the window, by column."""
        self.harvest()
        return self._window.sums(now)

    def recall(self, counts: Sequence[int], now: float) -> None:
        """Take over what another circuit's window held."""
        for column, n in enumerate(counts):
            self._window.add(column, now, n)
        self._be_calm(any(counts[1:]))

    def adopt(self, config: CircuitBreaker, now: float) -> None:
        """Go on under another configuration, with the same history."""
        self.harvest()
        old, self._config, window = self._config, config, self._window
        if isinstance(window, TimeWindow) and config.window_calls is None:
            if (old.window, old.buckets) != (config.window, config.buckets):
                self._window = window.resized(window=config.window, buckets=config.buckets, now=now)
        elif isinstance(window, CountWindow) and config.window_calls is not None:
            self._window = window.resized(config.window_calls)
        else:
            self._window = _empty_window(config, now)
            sums, most = window.sums(now), config.window_calls or inf
            share = min(1.0, most / max(1, sum(sums)))  # too many for the new window: each column its part
            for column, n in enumerate(sums):
                self._window.add(column, now, int(n * share))
        self._watch(now)
        self._be_calm(any(self._window.sums(now)[1:]))

    def _be_calm(self, troubled: object) -> None:
        # The first good result of a new term or slice takes the lock too; so the last slice's tally is harvested
        # before the window rolls on. A count window has no slices, and takes it always.
        window = self._window
        if troubled or isinstance(window, CountWindow):
            self.lock_free_until = -inf
        else:
            self.lock_free_until = min(window.edge, self.horizon())


def _empty_window(config: CircuitBreaker, now: float) -> TimeWindow | CountWindow:
    """What a closed term weighs by: the last calls, or the calls of the last seconds."""
    if config.window_calls is not None:
        return CountWindow(4, size=config.window_calls)
    return TimeWindow(4, window=config.window, buckets=config.buckets, now=now)


class ForcedClosed(Closed):
    """All calls are admitted, however they end, until somebody releases the circuit."""

    __slots__ = ()
    state = State.FORCED_CLOSED
    watches = False

    def record(self, column: int, now: float) -> Trigger | None:
        super().record(column, now)  # keeps the history, decides nothing
        return None


class Disabled(Term):
    """The breaker is switched off: all calls are admitted, and nothing is weighed."""

    __slots__ = ()
    state = State.DISABLED
    passes = True


class Open(Term):
    """All calls are refused until ``open_for`` seconds have passed."""

    __slots__ = ("halted", "openings", "told", "u")
    state = State.OPEN

    def __init__(self, seq: int, now: float, config: CircuitBreaker, openings: int, u: float,
                 told: float | None = None) -> None:
        super().__init__(seq, now)
        self.openings, self.u = openings, u
        self.told = told  # until when it is open, if somebody else said so: its target, or other instances
        self.halted = False  # the target asked its callers to wait
        self.until = now + time_open(config, openings, u) if told is None else told


class ForcedOpen(Term):
    """All calls are refused until somebody releases the circuit."""

    __slots__ = ()
    state = State.FORCED_OPEN


class HalfOpen(Term):
    """Probes first; then, if there is a ramp, a growing share of the calls."""

    __slots__ = ("_config", "_may_fail", "_owed", "_slots", "ends_by", "ramp")
    state = State.HALF_OPEN

    def __init__(self, seq: int, now: float, config: CircuitBreaker) -> None:
        super().__init__(seq, now)
        self.until, self.ends_by = now + config.half_open_for, Trigger.PROBES_LOST
        self._config = config
        self._slots = config.half_open_calls
        self._may_fail = config.half_open_failures
        self._owed = config.half_open_calls - config.half_open_failures  # good ones, to close
        self.ramp: _Ramp | None = None

    def admit(self, now: float) -> bool:
        if self.ramp is not None:
            return self.ramp.admit(now)
        if not self._slots:
            return False
        self._slots -= 1
        return True

    def give_back(self) -> None:
        self._slots += 1

    @property
    def is_full(self) -> bool:
        """Whether all probes are under way."""
        return self.ramp is None and not self._slots

    def record(self, column: int, now: float) -> Trigger | None:
        if self.ramp is not None:
            if self.ramp.record(column, now) is not None:
                return Trigger.PROBE_FAILED
            return Trigger.PROBES_PASSED if now >= self.until else None
        if column != GOOD:
            self._may_fail -= 1
            return Trigger.PROBE_FAILED if self._may_fail < 0 else None
        self._owed -= 1
        if self._owed:
            return None
        if not self._config.ramp:
            return Trigger.PROBES_PASSED
        self.ramp = _Ramp(self.seq, now, self._config)
        self.until, self.ends_by = now + self._config.ramp, Trigger.PROBES_PASSED
        return None


class _Ramp(Closed):
    """The part of a half-open term after its probes: weighs as a closed circuit does, what it admits."""

    __slots__ = ("_admitted", "_asked", "_step")
    watches = False

    def __init__(self, seq: int, now: float, config: CircuitBreaker) -> None:
        super().__init__(seq, now, config, lambda: -inf)
        self._step = self._asked = self._admitted = 0

    def admit(self, now: float) -> bool:
        shares, config = self._config.ramp_shares, self._config
        step = min(max(self._step, int((now - self.since) / config.ramp * len(shares))), len(shares) - 1)
        if step > self._step:
            self._step, self._asked, self._admitted = step, 0, 0
        self._asked += 1
        if self._admitted >= shares[step] * self._asked:
            return False
        self._admitted += 1
        return True
