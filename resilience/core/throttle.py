"""Throttle: refuse at home what the target would refuse anyway.

A target that is overloaded spends work on refusing too. So each client looks at
how many of its requests were accepted lately, and sends about ``k`` times that
many; the rest it refuses itself, at random (Google's SRE book, "Handling
Overload", client-side throttling)::

    rate = max(0, (requests - k * accepts) / (requests + 1))

``requests`` are those that the target answered or let time out, and those
refused here; those still on their way are not yet either. At most
``max_rejection_rate`` are refused: what goes through all the same tells when
the target is back.

As long as nothing in the window was refused the rate is 0 and stays so, whatever
is accepted: then an acceptance is tallied without a lock until the running slice
of the window ends, which is nearly every call of a healthy target.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

import attrs

from ..errors import ThrottledError
from .checks import flag, number, strict
from .outcome import BUSY, FAILURE, SUCCESS, TIMEOUT
from .reentrance import MET, ReentryGuard
from .window import Tally, TimeWindow

ACCEPTED: Final = 0  # columns of the window
UNACCEPTED: Final = 1
SLICES: Final = 60  # of the window: the oldest two seconds of two minutes go at once


@strict
@attrs.frozen(kw_only=True)
class Throttle:
    """Adaptive throttling policy: refuses a share of the calls locally while the target accepts only few of them.

    It follows "Handling Overload" in Google's Site Reliability Engineering book, chapter 21 ("the book" below).
    Immutable: any number of commands and threads may share one.

    Attributes:
        k: Number of calls that are sent for each call that the target accepted lately, at least 1. With 2, as in the
            book, a target that accepts half of the calls or more is never throttled, and a recovery is noticed soon. A
            smaller value spares a target for which refusing a call is expensive.
        window: Seconds over which sent and accepted calls are counted (the book: two minutes).
        max_rejection_rate: Largest share of calls that is refused locally, above 0 to below 1. The others reach the
            target and notice its recovery: with 0.9 (as in failsafe-go) nine of ten calls pass again after less than
            two windows, with 0.99 after three to four (measured, from 1 to 10 calls a second).
        min_calls: Number of calls the window must hold before any call is refused.
        count_failures: Whether a failed call counts as not accepted, as one that times out does. Set it to False where
            failures say nothing about load.
    """

    k: float = attrs.field(default=2.0, validator=number(least=1, most=1000))
    window: float = attrs.field(default=120.0, validator=number(least=0.1))
    max_rejection_rate: float = attrs.field(default=0.9, validator=number(above=0, most=0.999))
    min_calls: int = attrs.field(default=10, validator=number(least=1, most=1_000_000, whole=True))
    count_failures: bool = attrs.field(default=True, validator=flag)


def rejection_rate(throttle: Throttle, accepted: int, unaccepted: int) -> float:
    """Return the share of the next calls that is refused.

    Args:
        throttle: The throttle in force.
        accepted: Number of calls in the window that the target accepted.
        unaccepted: Number of calls in the window that it did not accept.
    """
    requests = accepted + unaccepted
    if requests < throttle.min_calls:
        return 0.0
    return min(throttle.max_rejection_rate, max(0.0, (requests - throttle.k * accepted) / (requests + 1)))


class Throttler:
    """The machine of a Throttle: a gate. Every method may be called from any thread, and by a signal handler.

    Attributes:
        rate: Share of the calls that is refused; while it is 0 acquire() need not be called.
        shadow: Called for each call that would have been refused, in shadow mode; None: refuse it.
    """

    __slots__ = ("_config", "_guard", "_key", "_lock_free_until", "_tally", "_window", "rate", "shadow")

    def __init__(self, config: Throttle, *, key: str, now: float) -> None:
        """Start with an empty window.

        Args:
            config: How readily to refuse.
            key: Named in refusals.
            now: Seconds on the clock that every method is told.
        """
        self._config, self._key = config, key
        self.shadow: Callable[[], object] | None = None
        self._guard = ReentryGuard()
        self.renew(now)

    def renew(self, now: float) -> None:
        """Start over in a forked child."""
        self._guard.renew()
        self._tally = Tally()
        self._window = TimeWindow(2, window=self._config.window, buckets=SLICES, now=now)
        self._lock_free_until = -inf
        self.rate = 0.0

    def acquire(self, now: float, u: float) -> None:
        """Ask to start one call.

        Args:
            now: Seconds on any monotonic clock, the same one for every call.
            u: A random number in [0, 1).

        Returns:
            The permit, which is None: there is nothing to give back.

        Raises:
            ThrottledError: The call must not start.
        """
        if u < self.rate and self._refuses(now, u):
            shadow = self.shadow
            if shadow is None:
                raise ThrottledError(self._key)
            shadow()

    def settle(self, permit: None, outcome: int, started: float, now: float) -> None:
        """Report how the call, begun at *started*, ended. Never raises."""
        if outcome == SUCCESS:
            if now < self._lock_free_until:
                self._tally.bump()
                return
            self._guard.do(self._count, ACCEPTED, now)
        elif outcome in (TIMEOUT, BUSY) or (outcome == FAILURE and self._config.count_failures):
            self._guard.do(self._count, UNACCEPTED, now)

    def sums(self, now: float) -> tuple[int, int]:
        """Requests in the window that were accepted, and that were not (refused here among them)."""
        found = self._guard.ask(self._sums, now)
        accepted, unaccepted = self._window.glance() if found is MET else found
        return accepted, unaccepted

    def configure(self, config: Throttle, now: float) -> None:
        """Go on under *config*; the history stays."""
        self._guard.do(self._adopt, config, now)

    def clear(self, now: float) -> None:
        """Forget the history."""
        self._guard.do(self._clear, now)

    def _refuses(self, now: float, u: float) -> bool:
        """Whether the rate still stands now that time has passed; if the call is refused, it is counted."""
        refused = self._guard.ask(self._decide, now, u)
        if refused is MET:  # as the rate was
            if self.shadow is None:
                self._guard.do(self._count, UNACCEPTED, now)
            return True
        return bool(refused)

    # -- under the lock

    def _sums(self, now: float) -> list[int]:
        self._harvest()
        return self._window.sums(now)

    def _adopt(self, config: Throttle, now: float) -> None:
        self._config = config
        self._harvest()
        self._window = self._window.resized(window=config.window, buckets=SLICES, now=now)
        self._weigh(now)

    def _clear(self, now: float) -> None:
        self._harvest()
        self._window.clear()
        self._weigh(now)

    def _decide(self, now: float, u: float) -> bool:
        self._harvest()
        self._weigh(now)
        refused = u < self.rate
        if refused and self.shadow is None:  # in shadow it is sent, and counted by its answer
            self._window.add(UNACCEPTED, now)
            self._weigh(now)
        return refused

    def _count(self, column: int, now: float) -> None:
        self._harvest()
        self._window.add(column, now)
        self._weigh(now)

    def _harvest(self) -> None:
        """Bring the tallied acceptances into the slice they happened in, which is the running one."""
        fresh = self._tally.take()
        if fresh:
            self._window.add(ACCEPTED, -inf, fresh)

    def _weigh(self, now: float) -> None:
        accepted, unaccepted = self._window.sums(now)
        self.rate = rejection_rate(self._config, accepted, unaccepted)
        # The next slice begins with a lock, so that the tally is harvested before the window rolls on.
        self._lock_free_until = -inf if unaccepted else self._window.edge
