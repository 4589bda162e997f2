"""Shared limits: a rate limit for requests of which several gateways share the count; a sibling of RequestLimit.

Most requests spend from a lease (shared/lease.py) and ask nobody. One that finds none waits for the store, unless that
has said that there is none. While the store is lost, or late, a limit goes on as ``when_unavailable`` says:

    share       this gateway alone has the limit's share: rate and burst divided by the gateways that are known.
                A caller begins there with what is known to be used up, so that nobody has a burst twice
    closed      requests are refused
    open        requests are admitted

A lease that is there is spent first in any case: the store has counted it. What was admitted without the store is
booked when it is there again, as far as it would not have drained.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily

from ...core.rate_cost import Booking
from ...core.rate_limit import RateLimit
from ...drivers.deadline_context import in_use, shortened
from ...errors import RateLimitedError
from ...metrics.exports import as_utf8
from ...registry import Registry
from ...shared.exchange import Exchange, exchange_of
from ...shared.lease import Lease, Need
from ...shared.limiter import SharedLimiter
from ...shared.store import Store
from ..change import Act, LastingParts, at_once
from .rate_fields import left_of
from .request_limit import RequestLimit, policy_of

#: What may become of a limit without its store.
WHEN_UNAVAILABLE: Final = ("share", "closed", "open")
#: What clients are told to wait for when a limit is closed since nobody knows, seconds.
_CLOSED_S: Final = 1.0
_LONGEST_S: Final = 86_400.0
#: By whom, and how it was decided.
LEASE, STORE, KNOWN, LOCAL = "lease", "store", "known", "local"


class LimitUnavailableError(RateLimitedError):
    """Nobody can say whether the request is within the limit, and the limit is closed then."""


class SharedBooking:
    """What one request has booked.

    Attributes:
        key: Of its caller.
        units: That it has booked.
        lease: What is known of the caller.
        need: Its question to the store, as long as there is no answer.
        wait_s: Seconds for which it has to wait.
        local: What it has booked without the store; None: nothing.
    """

    __slots__ = ("key", "lease", "local", "need", "units", "wait_s")

    def __init__(self, key: Hashable, units: float, lease: Lease) -> None:
        self.key, self.units, self.lease = key, units, lease
        self.need: Need | None = None
        self.wait_s = 0.0
        self.local: Booking | None = None


class SharedLimit:
    """A limit of requests that several gateways share. For one event loop.

    Attributes:
        policy: What is in force.
        waiting: How many wait for their turn now.
        refused: How many were refused since it was made.
        counts: How requests were decided: by whom, and whether they were "admitted" or "rejected".
    """

    def __init__(self, policy: RateLimit, *, name: str, max_waiting: int, store: Store, when_unavailable: str,
                 clock: Callable[[], float]) -> None:
        """Nothing is booked here yet; the store may know of others.

        Args:
            policy: See request_limit.policy_of().
            name: Named in refusals; limits with the same one share.
            max_waiting: How many may wait at once.
            store: Has the count.
            when_unavailable: "share", "closed" or "open".
            clock: Monotonic seconds.
        """
        self._name, self._clock = name, clock
        self.waiting = self.refused = 0
        self.counts = Counter[tuple[str, str]]()
        self._store: Store | None = None
        self._shares = 1
        self._local = RequestLimit(policy, name=name, max_waiting=max_waiting, clock=clock)
        self.configure(policy, max_waiting, store, when_unavailable)

    def configure(self, policy: RateLimit, max_waiting: int, store: Store, when_unavailable: str) -> None:
        """Go on under another policy; what was spent stays spent, unless the store is another one."""
        self.policy, self._max_waiting, self._when_unavailable = policy, max_waiting, when_unavailable
        if store is not self._store:
            self._store = store
            self._exchange: Exchange = exchange_of(store, self._clock)
            self._limiter = SharedLimiter(self._name, policy, store.prefix)
            self._exchange.limiters.add(self._limiter)
        self._limiter.configure(policy)
        self._shares = 0  # to be reckoned anew

    @property
    def keys(self) -> int:
        """How many callers are remembered."""
        return self._limiter.keys

    def book(self, key: Hashable, units: float) -> SharedBooking:
        """Book so many *units* for the caller with this *key*; wait() says what becomes of it.

        Raises:
            RateLimitedError: It is known that they are not there.
            LimitUnavailableError: Nobody knows, and the limit is closed then.
        """
        now = self._clock()
        lease = self._limiter.lease_of(key, now)
        refusal_s = lease.refusal_s(units, now)
        if refusal_s is not None:
            raise self._refusal(KNOWN, refusal_s)
        booking = SharedBooking(key, units, lease)
        if lease.spend(units, now):
            self.counts[LEASE, "admitted"] += 1
            if lease.is_low and not lease.is_asked and not lease.floods(now) and self._exchange.is_usable:
                self._exchange.ask(self._limiter, lease)
        elif lease.floods(now) and self._exchange.is_usable and not self._limiter.max_wait:
            pause_s = lease.pause_s(self._limiter.burst * self._limiter.interval, now)
            if not pause_s and not lease.is_asked:
                self._exchange.ask(self._limiter, lease)
            raise self._refusal(KNOWN, pause_s)
        elif self._exchange.is_usable:
            booking.need = Need(units, _nothing)
            lease.needs.append(booking.need)
            self._exchange.ask(self._limiter, lease)
        else:
            self._exchange.store.start()
            self._decide_locally(booking, now)
        return booking

    async def wait(self, booking: SharedBooking) -> None:
        """Wait for the store's answer and for the turn of a *booking*; whoever is cancelled meanwhile gives it back.

        Raises:
            RateLimitedError: The units are not there, or too many wait.
            LimitUnavailableError: Nobody knows, and the limit is closed then.
        """
        need = booking.need
        if need is not None:
            await self._answered(need, booking)
            booking.need = None
            if need.wait_s is None or need.is_over:
                self._decide_locally(booking, self._clock())
            elif need.wait_s < 0.0:
                raise self._refusal(STORE, -1.0 - need.wait_s)
            else:
                booking.wait_s = need.wait_s
                self.counts[STORE, "admitted"] += 1
        if booking.local is not None:
            try:
                await self._local.wait(booking.local)
            except BaseException:
                self._limiter.owe_locally(booking.lease, -booking.units, self._clock())
                raise
        elif booking.wait_s > 0.0:
            await self._sleep(booking)

    def settle(self, booking: SharedBooking, units: float) -> None:
        """Correct what a request has booked by what it really took."""
        more, booking.units = units - booking.units, units
        now = self._clock()
        if booking.local is not None:
            self._local.settle(booking.local, units)
            self._limiter.owe_locally(booking.lease, more, now)
        elif more:
            self._correct(booking.key, more)

    def refund(self, booking: SharedBooking) -> None:
        """Give back what a request has booked that took nothing."""
        self.settle(booking, 0.0)

    def left(self, booking: SharedBooking) -> tuple[float, float]:
        """Units that the caller of a *booking* has left, and for how long it waits for more, as far as is known."""
        if booking.local is not None:
            return self._local.left(booking.local)
        interval = self._limiter.interval
        return left_of(self._limiter.burst, booking.lease.used_at(self._clock(), interval), interval)

    # -- within

    def _refusal(self, by: str, retry_s: float) -> RateLimitedError:
        self.refused += 1
        self.counts[by, "rejected"] += 1
        return RateLimitedError(self._name, retry_s)

    async def _answered(self, need: Need, booking: SharedBooking) -> None:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not answered.done():
                answered.set_result(None)

        need.wake = wake
        try:
            await answered
        except BaseException:
            if need.wait_s is not None and need.wait_s >= 0.0 and not need.is_over:  # the answer came just now
                self._correct(booking.key, -need.units)
            need.is_over = True
            raise

    async def _sleep(self, booking: SharedBooking) -> None:
        """Wait for a turn that the store has booked."""
        wait_s = booking.wait_s
        try:
            if self.waiting >= self._max_waiting or (in_use and shortened(wait_s) is not None):
                raise self._refusal(STORE, wait_s)
            self.waiting += 1
            try:
                await asyncio.sleep(wait_s)
            finally:
                self.waiting -= 1
        except BaseException:
            self._correct(booking.key, -booking.units)
            raise

    def _correct(self, key: Hashable, units: float) -> None:
        """Book so many *units* more, or give them back, and let all others know."""
        lease = self._limiter.lease_of(key, self._clock())
        self._limiter.owe(lease, units)
        if self._exchange.is_usable:
            self._exchange.ask(self._limiter, lease)

    def _decide_locally(self, booking: SharedBooking, now: float) -> None:
        """Go on without the store.

        Raises:
            RateLimitedError: This gateway's share is used up.
            LimitUnavailableError: The limit is closed.
        """
        lease, units = booking.lease, booking.units
        if self._when_unavailable == "closed":
            self.refused += 1
            self.counts[LOCAL, "rejected"] += 1
            raise LimitUnavailableError(self._name, _CLOSED_S)
        if lease.local.episode != self._exchange.episode:
            self._know(booking.key, lease, now)
        if self._when_unavailable == "share":
            try:
                booking.local = self._local.book(booking.key, units)
            except RateLimitedError as error:
                raise self._refusal(LOCAL, error.retry_after or 0.0) from None
        self._limiter.owe_locally(lease, units, now)
        self.counts[LOCAL, "admitted"] += 1

    def _know(self, key: Hashable, lease: Lease, now: float) -> None:
        """Begin a time without the store with what is known to be used up of the limit, or of this gateway's share."""
        limiter = self._limiter
        episode, rate = self._exchange.episode, 1.0 / limiter.interval
        used = lease.unavailable_at(now, limiter.interval)
        if self._when_unavailable == "open":
            lease.local.begin(episode, used, rate, now)
            return
        instances = self._exchange.store.instances
        if instances != self._shares:
            self._shares = instances
            self._local.configure(share_of(self.policy, instances), self._max_waiting)
        whole = float(self._local.policy.burst or self._local.policy.calls)
        used = max(0.0, whole - max(0.0, limiter.burst - used) / instances)
        self._local.owe(key, used)
        lease.local.begin(episode, used, rate / instances, now)


def share_of(policy: RateLimit, instances: int) -> RateLimit:
    """The limit that one of several *instances* has for itself."""
    calls, per = policy.calls, policy.per * instances
    if per > _LONGEST_S:
        calls, per = max(1, math.floor(calls * _LONGEST_S / per)), _LONGEST_S
    burst = max(1, math.floor((policy.burst or policy.calls) / instances))
    return policy_of(calls, per, burst=burst, max_wait=policy.max_wait, max_keys=policy.max_keys,
                     settles=policy.true_cost is not None)


def _nothing() -> None:
    """Nobody waits for the answer yet."""


def _collect(limits: Mapping[str, SharedLimit]) -> Iterator[Metric]:
    decisions = CounterMetricFamily(
        "resilience_shared_limit_decisions", "Requests under shared limits: who decided, and how.",
        labels=["limit", "by", "result"])
    for name, limit in list(limits.items()):
        for (by, result), number in list(limit.counts.items()):
            decisions.add_metric([as_utf8(name), by, result], number)
    yield decisions


_limits: Final = LastingParts[str, SharedLimit](_collect)


def shared_limit_named(name: str, registry: Registry, policy: RateLimit, max_waiting: int, store: Store,
                       when_unavailable: str, once_in_force: Callable[[Act], object] = at_once) -> SharedLimit:
    """The shared limit with this *name*; one that is there goes on under *policy*; see request_limit.limit_named()."""
    limit = _limits.of(registry).get(name)
    if limit is None:
        limit = SharedLimit(policy, name=name, max_waiting=max_waiting, store=store, when_unavailable=when_unavailable,
                            clock=registry.clock)

    def come_into_force() -> None:
        limit.configure(policy, max_waiting, store, when_unavailable)
        _limits.put(registry, name, limit)

    once_in_force(come_into_force)
    return limit
