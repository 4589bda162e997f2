"""Request limits: a rate limit for requests, apart for each caller, with a bounded waiting room.

The machine is the library's (core.rate_limiter: GCRA by key and by cost, the waiting line, debts, live changes). Here
is what only a gateway adds: a bound on how many may wait, what clients are told, and that a limit outlives the gateway
it was made for, so that a changed file refills nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from ...core.outcome import SUCCESS
from ...core.rate_cost import Booking
from ...core.rate_limit import RateLimit
from ...core.rate_limiter import RateLimiter
from ...drivers.rate_limit_waiter import RateLimitWaiter
from ...engine.cost_account import CostAccount
from ...errors import RateLimitedError
from ...registry import Registry
from ..change import Act, LastingParts, at_once
from .rate_fields import left_of

#: Callers that are told apart at once.
MAX_KEYS: Final = 100_000


def _key_of(key: Hashable, units: float) -> Hashable:
    return key


def _units_of(key: Hashable, units: float) -> float:
    return units


def policy_of(calls: int, per: float, *, burst: int | None = None, max_wait: float = 0.0, max_keys: int = MAX_KEYS,
              settles: bool = False) -> RateLimit:
    """A rate limit whose calls are told by key and units.

    Args:
        calls: Units in *per* seconds.
        per: Seconds.
        burst: Units that may be spent at once; None: as many as *calls*.
        max_wait: Seconds that a caller may wait.
        max_keys: Callers that are told apart.
        settles: Whether what a call really took is settled when it ends.
    """
    return RateLimit(calls, per=per, burst=burst, max_wait=max_wait, by=_key_of, max_keys=max_keys, cost=_units_of,
                     true_cost=float if settles else None)


class RequestLimit:
    """A limit of a gateway's requests. For one event loop.

    Attributes:
        policy: What is in force.
        waiting: How many wait now.
        refused: How many were refused since it was made.
    """

    def __init__(self, policy: RateLimit, *, name: str, max_waiting: int, clock: Callable[[], float]) -> None:
        """Nothing is booked yet.

        Args:
            policy: See policy_of().
            name: Named in refusals.
            max_waiting: How many may wait at once.
            clock: Monotonic seconds.
        """
        self._name, self._clock, self._max_waiting = name, clock, max_waiting
        self._limiter = RateLimiter(policy, key=name, now=clock())
        self._account = CostAccount(self._limiter, key=name)
        self._waiter = RateLimitWaiter(self._limiter, key=name, clock=clock)
        self.waiting = self.refused = 0

    @property
    def policy(self) -> RateLimit:
        """What is in force."""
        return self._limiter.config

    @property
    def keys(self) -> int:
        """How many callers are remembered."""
        return self._limiter.keys

    def configure(self, policy: RateLimit, max_waiting: int) -> None:
        """Go on under another policy; what was spent stays spent."""
        self._max_waiting = max_waiting
        if policy != self._limiter.config:
            self._limiter.configure(policy, self._clock())

    def book(self, key: Hashable, units: float) -> Booking:
        """Book so many *units* for the caller with this *key*; who has to wait has a ``turn``, for wait().

        Raises:
            RateLimitedError: Its turn would come too late, or too many wait.
        """
        now = self._clock()
        try:
            booking = self._limiter.book(now, (key, units))
        except RateLimitedError:
            self.refused += 1
            raise
        turn = booking.turn
        if turn is not None and self.waiting >= self._max_waiting:
            self._limiter.withdraw(turn, now)
            self.refused += 1
            raise RateLimitedError(self._name, max(0.0, turn.at - now))
        return booking

    async def wait(self, booking: Booking) -> None:
        """Wait for the turn of a *booking*; whoever is cancelled meanwhile gives it back.

        Raises:
            RateLimitedError: It comes too late, since others took more than they had booked.
        """
        if booking.turn is None:
            return
        self.waiting += 1
        try:
            await self._waiter.wait_async(booking.turn)
        except RateLimitedError:
            self.refused += 1
            raise
        finally:
            self.waiting -= 1

    def settle(self, booking: Booking, units: float) -> None:
        """Correct what a request has booked by what it really took."""
        self._account.charge(booking, SUCCESS, units, self._clock())

    def refund(self, booking: Booking) -> None:
        """Give back what a request has booked that took nothing."""
        self._account.refund(booking, self._clock())

    def owe(self, key: Hashable, units: float) -> None:
        """Let the caller with this *key* owe so many *units*, unless it owes more."""
        now = self._clock()
        try:
            booking = self._limiter.book(now, (key, 0.0))
        except RateLimitedError:
            return  # it owes more than the burst
        if booking.turn is not None:
            self._limiter.withdraw(booking.turn, now)
            return
        more = units - max(0.0, booking.pace.tat - now) / self._limiter.emission_interval
        if more > 0.0:
            self._limiter.correct(booking, more, now)

    def left(self, booking: Booking) -> tuple[float, float]:
        """Units that the caller of a *booking* has left, and for how long it waits for more; see left_of()."""
        spent_s = max(0.0, booking.pace.tat - self._clock())
        policy, interval_s = self._limiter.config, self._limiter.emission_interval
        return left_of(policy.burst or policy.calls, spent_s / interval_s, interval_s)


_limits: Final = LastingParts[str, RequestLimit]()


def limit_named(name: str, registry: Registry, policy: RateLimit, max_waiting: int,
                once_in_force: Callable[[Act], object] = at_once) -> RequestLimit:
    """The limit with this *name* of the gateways with this *registry*; one that is there goes on under *policy*.

    Args:
        name: Of the limit.
        registry: Of the gateways.
        policy: What is to be in force.
        max_waiting: How many may wait at once.
        once_in_force: See FilterHost.
    """
    limit = _limits.of(registry).get(name)
    if limit is None:
        limit = RequestLimit(policy, name=name, max_waiting=max_waiting, clock=registry.clock)

    def come_into_force() -> None:
        limit.configure(policy, max_waiting)
        _limits.put(registry, name, limit)

    once_in_force(come_into_force)
    return limit
