"""Terms: one class per state of a circuit, one object per stay in it; see breaker.py, whose machine they are.

A term is the permit of the calls that it admitted, weighs their results, and
says which trigger they pull; the Circuit looks up what follows from it. The
caller of every method but ``bump`` holds the circuit's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, ClassVar

from .events import State, Trigger
from .window import CountWindow, Tally, TimeWindow

if TYPE_CHECKING:
    from .breaker import CircuitBreaker

# Columns of a closed term's window. Slow and failed are counted apart: one call, one column.
GOOD, BAD, SLOW_GOOD, SLOW_BAD = range(4)


class Term:
    """One stay in one state."""

    __slots__ = ("bump", "calm_until", "refuses_until", "seq", "since", "until")
    state: ClassVar[State]
    bump: Callable[[], object]  # tallies one good and fast result; called only before calm_until
    admits: ClassVar[bool] = False  # lets every call pass

    def __init__(self, seq: int, now: float) -> None:
        self.seq, self.since = seq, now
        self.until = inf  # when a caller may end this term by knocking
        self.refuses_until = -inf  # until when there is nothing to ask: the answer is no
        self.calm_until = -inf  # until when a good and fast result needs no lock

    def record(self, column: int, now: float) -> Trigger | None:
        """Weigh one result. The caller holds the lock."""
        return None


class Closed(Term):
    __slots__ = ("_config", "_horizon", "_tally", "_window")
    state = State.CLOSED
    admits = True

    def __init__(self, seq: int, now: float, config: CircuitBreaker, horizon: Callable[[], float],
                 heir: Closed | None = None) -> None:
        super().__init__(seq, now)
        self._horizon = horizon
        self._tally = Tally()
        self.bump = self._tally.bump
        self._config = config
        self._window: TimeWindow | CountWindow
        if heir is not None:
            heir.harvest()
            self._window = heir._window
        elif config.window_calls is not None:
            self._window = CountWindow(4, size=config.window_calls)
        else:
            self._window = TimeWindow(4, window=config.window, buckets=config.buckets, now=now)
        self._be_calm(any(self._window.sums(now)[1:]))

    def record(self, column: int, now: float) -> Trigger | None:
        self.harvest()
        self._window.add(column, now)
        good, bad, slow_good, slow_bad = self._window.sums(now)
        self._be_calm(bad or slow_good or slow_bad)
        calls = good + bad + slow_good + slow_bad
        config = self._config
        if calls < config.min_calls:
            return None
        if (bad + slow_bad) / calls >= config.failure_rate:  # 0.55 * 100 is more than 55, 55 / 100 is 0.55
            return Trigger.FAILURE_RATE
        if config.slow_call is not None and (slow_good + slow_bad) / calls >= config.slow_rate:
            return Trigger.SLOW_RATE
        return None

    def harvest(self) -> None:
        """Bring the tallied calls into the slice they happened in."""
        fresh = self._tally.take()
        if fresh:
            self._window.add(GOOD, self.since, fresh)  # a time in the past: the running slice

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
            self._window = Closed(0, now, config, self._horizon)._window
            sums, most = window.sums(now), config.window_calls or inf
            share = min(1.0, most / max(1, sum(sums)))  # too many for the new window: each column its part
            for column, n in enumerate(sums):
                self._window.add(column, now, int(n * share))
        self._be_calm(any(self._window.sums(now)[1:]))

    def _be_calm(self, troubled: object) -> None:
        # The first good result of a new term or slice takes the lock too; so the last slice's tally is harvested
        # before the window rolls on. A count window has no slices, and takes it always.
        window = self._window
        if troubled or isinstance(window, CountWindow):
            self.calm_until = -inf
        else:
            self.calm_until = min(window.edge, self._horizon())


class ForcedClosed(Closed):
    __slots__ = ()
    state = State.FORCED_CLOSED

    def record(self, column: int, now: float) -> Trigger | None:
        super().record(column, now)  # keeps the history, decides nothing
        return None


class Disabled(Term):
    __slots__ = ()
    state = State.DISABLED
    admits = True


class Open(Term):
    __slots__ = ("openings", "u")
    state = State.OPEN

    def __init__(self, seq: int, now: float, config: CircuitBreaker, openings: int, u: float) -> None:
        super().__init__(seq, now)
        self.openings, self.u = openings, u
        self.until = self.refuses_until = now + config.wait(openings, u)


class ForcedOpen(Term):
    __slots__ = ()
    state = State.FORCED_OPEN


class HalfOpen(Term):
    __slots__ = ("_owed", "_slots")
    state = State.HALF_OPEN

    def __init__(self, seq: int, now: float, config: CircuitBreaker) -> None:
        super().__init__(seq, now)
        self.until = now + config.half_open_for
        self._slots = self._owed = config.half_open_calls

    def admit(self) -> bool:
        if not self._slots:
            return False
        self._slots -= 1
        return True

    def give_back(self) -> None:
        self._slots += 1

    def record(self, column: int, now: float) -> Trigger | None:
        if column != GOOD:
            return Trigger.PROBE_FAILED
        self._owed -= 1
        return None if self._owed else Trigger.PROBES_PASSED
