"""Retry budget: how many retries a group may make, as a share of its calls.

Retries multiply the load of a target that is already failing: three attempts
are three times the traffic. With a budget they are at most a share of the recent
calls, and a few each second besides, so that a quiet group can retry too
(Finagle's RetryBudget: 20 %, 10 a second, over 10 s). A retry that the budget
does not allow is not made; the call's error comes through.

When the window is made longer, what happened before the old one is not known any more. Retries may have been
made then, so ``per_second`` counts only for the time that is known; it grows with the time that passes.

Calls are tallied without a lock until the running slice of the window ends;
retries, which are rare, take the lock.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

import attrs

from .checks import number, strict
from .reentrance import ReentryGuard
from .window import Tally, TimeWindow

_CALLS: Final = 0  # columns of the window
_RETRIES: Final = 1
_SLICES: Final = 10
_HUNDREDTHS: Final = 100  # of a retry, in which they are counted: a window counts whole numbers


@strict
@attrs.frozen(kw_only=True)
class RetryBudget:
    """Retry budget: limits how many retries and hedged attempts a group makes in proportion to its calls.

    It keeps a target that fails from being flooded by repetitions. Immutable; the groups' counts are kept elsewhere.

    Attributes:
        ratio: Number of retries allowed for each call in the window, at most 1.
        per_second: Number of retries allowed each second, however few calls there are.
        window: Seconds over which calls and retries are counted.
    """

    ratio: float = attrs.field(default=0.2, validator=number(least=0, most=1))
    per_second: float = attrs.field(default=10.0, validator=number(least=0, most=1_000_000))
    window: float = attrs.field(default=10.0, validator=number(least=0.1, most=3600))


class Budget:
    """The machine of a RetryBudget: a pacer. Every method may be called from any thread, and by a signal handler."""

    __slots__ = ("_config", "_guard", "_known_from", "_tally", "_window", "bump", "edge")
    _known_from: float
    bump: Callable[[], int]
    _window: TimeWindow

    def __init__(self, config: RetryBudget, now: float) -> None:
        self._config = config
        self._guard = ReentryGuard()
        self.renew(now)

    @property
    def config(self) -> RetryBudget:
        """The configuration in force."""
        return self._config

    def deposit(self, now: float) -> None:
        """Note that a call begins."""
        if now < self.edge:
            self.bump()
            return
        self._guard.ask(self._roll, now)  # or our own thread is at it, in a signal handler's way
        self.bump()

    def withdraw(self, now: float, price: float = 1.0) -> bool:
        """Whether a retry may be made that counts as *price* retries; if so, it is counted."""
        return self._guard.ask(self._withdraw, now, price) is True

    def refund(self) -> None:
        """Give back what was withdrawn just now at the price of one retry, because that is not made after all."""
        self._guard.do(self._refund)

    def configure(self, config: RetryBudget, now: float) -> None:
        """Go on under *config*; what was counted stays."""
        self._guard.do(self._adopt, config, now)

    def clear(self, now: float) -> None:
        """Forget the calls and retries of the window."""
        self._guard.do(self._clear, now)

    def renew(self, now: float) -> None:
        """Start over in a forked child."""
        self._guard.renew()
        self._known_from = -inf  # nothing was done before there was a budget
        self._tally = Tally()
        self.bump = self._tally.bump  # for a caller that has looked at ``edge``
        self._window = TimeWindow(2, window=self._config.window, buckets=_SLICES, now=now)
        self.edge = self._window.edge

    # -- under the lock

    def _roll(self, now: float) -> None:
        self._window.totals[_CALLS] += self._tally.take()  # all of them were in the running slice
        if now >= self._window.edge:
            self._window.roll(now)
        self.edge = self._window.edge

    def _withdraw(self, now: float, price: float) -> bool:
        self._roll(now)
        calls, retries = self._window.sums(now)
        known_s = min(self._config.window, now - self._known_from)
        cost = round(_HUNDREDTHS * price)
        if retries + cost > _HUNDREDTHS * (self._config.ratio * calls + self._config.per_second * known_s):
            return False
        self._window.totals[_RETRIES] += cost
        return True

    def _refund(self) -> None:
        self._window.take_back(_RETRIES, _HUNDREDTHS)

    def _adopt(self, config: RetryBudget, now: float) -> None:
        self._roll(now)
        if config.window > self._config.window:
            self._known_from = max(self._known_from, now - self._config.window)
        self._window = self._window.resized(window=config.window, buckets=_SLICES, now=now)
        self._config, self.edge = config, self._window.edge

    def _clear(self, now: float) -> None:
        self._roll(now)
        self._window.clear()
        self._known_from = -inf
