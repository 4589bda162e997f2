"""Cost account: what the calls of one command have booked of a rate limit by cost, and what they really took.

The machine (core.rate_limiter) books and corrects units; here the user is asked for the true cost, when a call has
ended. The call has been made then, and its result is the caller's: what goes wrong with the question is logged, and
the estimate stands.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..core.outcome import SUCCESS
from ..core.rate_cost import FREE, Booking, units
from ..core.rate_limit_queue import COME
from ..core.rate_limiter import RateLimiter
from .block_body import UNSAID

_log = logging.getLogger("resilience")


class CostAccount:
    """The bookings of one limiter whose calls have a cost. Every method may be called from any thread.

    Attributes:
        limiter: Where the units are booked.
    """

    __slots__ = ("_has_complained", "_key", "limiter")

    def __init__(self, limiter: RateLimiter, *, key: str) -> None:
        self.limiter, self._key, self._has_complained = limiter, key, False

    def book(self, now: float, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Booking:
        """Ask to start one call; see RateLimiter.reserve()."""
        return self.limiter.book(now, args, kwargs)

    def refund(self, booking: Booking, now: float) -> None:
        """Give back what a call booked that did not reach its target: a policy below refused it, or it was interrupted.

        Of a caller that gave up while waiting withdraw() has done so.
        """
        self._settle(booking, 0.0, now)

    def charge(self, booking: Booking, outcome: int, result: Any, now: float) -> None:
        """Settle what a call booked with what it really took. Raises nothing but an interrupt."""
        true_cost = self.limiter.config.true_cost
        if outcome in FREE:
            self._settle(booking, 0.0, now)
        elif outcome == SUCCESS and true_cost is not None and result is not UNSAID:
            try:
                true = units(true_cost(result), "true_cost", self._key)
            except Exception as mistake:  # noqa: BLE001 - the user's code may raise anything
                self._complain(mistake)
            else:
                self._settle(booking, true, now)

    def _settle(self, booking: Booking, true: float, now: float) -> None:
        turn, booked = booking.turn, booking.units
        booking.units = true
        if true != booked and (turn is None or turn.state == COME):
            self.limiter.correct(booking, true - booked, now)

    def _complain(self, mistake: Exception) -> None:
        if not self._has_complained:
            self._has_complained = True
            _log.error("%s: true_cost raised %r; the estimate stands, and such a mistake is not logged again",
                       self._key, mistake)
