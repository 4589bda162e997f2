"""Machines: what stands behind the settings of one command, and what its wrappers bind of it.

A machine is made when a function first declares its policy, and stays; changed
settings are handed on to it. The caller of grow() and apply() holds the registry's
lock.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from ..core.adaptive import Limiter
from ..core.bulkhead import Slots
from ..core.circuit import Circuit
from ..core.events import ShadowRejected, State, StateChanged, Trigger
from ..core.hedge import Racer
from ..core.outcome import Event
from ..core.rate_limit import RateLimiter
from ..core.throttle import Throttler
from ..drivers.deadlines import Deadlines
from ..drivers.lines import Line
from ..drivers.pauses import async_sleeper, sleeper
from ..drivers.turns import Turns
from ..drivers.workers import DEFAULT_THREADS, Isolation, WorkerPool
from ..metrics.recorder import Recorder
from .cache_keys import CacheKeys
from .caching import Caches, Caching
from .environment import Environment
from .havoc import ChaosPolicy, Havoc
from .hedging import HedgePolicy, Hedging
from .ledger import Ledger
from .policies import AdaptiveLimit, Bulkhead
from .retrying import Retrying, RetryPolicy
from .settings import Settings
from .shape import Flavour

_SHADOW_REJECTED: Final = int(Event.SHADOW_REJECTED)


def _threads(settings: Settings) -> int:
    """How many threads stand behind the slots: as many; without a limit that refuses, the default number at least."""
    limit = settings.max_concurrent if settings.adaptive_limit is None else settings.adaptive_limit.most
    if limit is None:
        return DEFAULT_THREADS
    in_shadow = "max_concurrent" in settings.shadow or "adaptive_limit" in settings.shadow
    return max(limit, DEFAULT_THREADS) if in_shadow else limit


class Machines:
    """The machines of one command; None: there is no such policy."""

    __slots__ = ("_clock", "_group", "_key", "caches", "chaos", "circuit", "deadlines", "environment", "hedge",
                 "is_moved", "isolation", "limiter", "rate", "recorder", "reserve", "retry", "slots",
                 "throttler")

    def __init__(self, key: str, group: str, environment: Environment) -> None:
        self._key, self._group = key, group
        self.environment, self._clock = environment, environment.clock
        self.slots = Slots(Bulkhead(None), key=key)
        self.recorder = Recorder(now=self._clock(), take_peak=self.slots.take_peak)
        self.deadlines = Deadlines(key, None)
        self.circuit: Circuit | None = None
        self.retry: RetryPolicy | None = None
        self.hedge: HedgePolicy | None = None
        self.caches: Caches | None = None
        self.chaos: ChaosPolicy | None = None
        self.throttler: Throttler | None = None
        self.rate: RateLimiter | None = None
        self.limiter: Limiter | None = None
        self.isolation: Isolation | None = None
        self.reserve: Callable[[], WorkerPool] | None = None  # threads for functions that have none so far
        self.is_moved = False  # they have them now

    def grow(self, settings: Settings, pool: Callable[[], WorkerPool] | None,
             changed: Callable[[StateChanged], None]) -> None:
        """Make what *settings* need and is not there; *pool* lends threads, *changed* hears of the circuit."""
        key, now, recorder = self._key, self._clock(), self.recorder
        if self.circuit is None and settings.breaker is not None:
            self.circuit = Circuit(settings.breaker, key=key, group=self._group, now=now, emit=changed,
                                   random=self.environment.random, horizon=lambda: recorder.edge)
        if self.retry is None and settings.retry is not None:
            self.retry = RetryPolicy(settings.retry, None)
        if self.hedge is None and settings.hedge is not None:
            self.hedge = HedgePolicy(Racer(settings.hedge, bins=recorder.bins), None)
        if self.chaos is None and settings.chaos is not None:
            self.chaos = ChaosPolicy(settings.chaos)
        if self.caches is None and settings.cache is not None:
            self.caches = Caches(settings.cache)
        if self.throttler is None and settings.throttle is not None:
            self.throttler = Throttler(settings.throttle, key=key, now=now)
        if self.rate is None and settings.rate_limit is not None:
            self.rate = RateLimiter(settings.rate_limit, key=key, now=now)
        if self.limiter is None and settings.adaptive_limit is not None:
            self.limiter = Limiter(settings.adaptive_limit, key=key, now=now, slots=self.slots)
            recorder.watch(self.limiter.take_peak)
        if pool is not None:
            self._isolate(settings, pool)

    def _isolate(self, settings: Settings, pool: Callable[[], WorkerPool]) -> None:
        lent = pool()  # which hears of another size, if the function says one anew
        if self.isolation is None:
            self.isolation = Isolation(self._key, self.slots, lent, settings.timeout, _threads(settings))

    def apply(self, settings: Settings, old: Settings) -> Trigger | None:
        """Hand on what has changed; what the circuit is yet to be told."""
        is_moved = self.reserve is not None and settings.isolation == "thread"
        if is_moved and self.isolation is None and self.reserve is not None:
            self._isolate(settings, self.reserve)
        if self.isolation is not None:  # before there are slots for them
            self.isolation.bring(max(_threads(settings), self.isolation.threads))
        if settings.max_concurrent != old.max_concurrent:
            self.slots.configure(Bulkhead(settings.max_concurrent))
        self._configure(settings, old)
        if self.retry is not None and settings.retry is not None:
            self.retry.policy = settings.retry
            self.retry.budget = self.environment.budget(self._group, settings.retry.budget)
        if self.hedge is not None and settings.hedge is not None:
            self.hedge.budget = self.environment.budget(self._group, settings.hedge.budget)
            if settings.hedge != old.hedge:
                self.hedge.racer.configure(settings.hedge)
        if self.chaos is not None and settings.chaos is not None:
            self.chaos.policy = settings.chaos
        self._cast_shadow(settings.shadow)
        self.deadlines.timeout = settings.timeout
        if self.isolation is not None:
            self.isolation.timeout = settings.timeout
            self.isolation.bring(_threads(settings))
        self.is_moved = is_moved
        return self._apply_breaker(settings, old)

    def _configure(self, settings: Settings, old: Settings) -> None:
        """Hand on to the machines that keep something between calls."""
        now = self._clock()
        if self.throttler is not None and settings.throttle is not None and settings.throttle != old.throttle:
            self.throttler.configure(settings.throttle, now)
        if self.rate is not None and settings.rate_limit is not None and settings.rate_limit != old.rate_limit:
            self.rate.configure(settings.rate_limit, now)
        if self.caches is not None and settings.cache is not None and settings.cache != old.cache:
            self.caches.configure(settings.cache)
        limit = settings.adaptive_limit
        if self.limiter is not None and limit is not None and limit != old.adaptive_limit:
            self.limiter.configure(limit, now)

    def _apply_breaker(self, settings: Settings, old: Settings) -> Trigger | None:
        circuit = self.circuit
        if circuit is not None and settings.breaker != old.breaker:
            if settings.breaker is None:
                return Trigger.DISABLED
            circuit.configure(settings.breaker, self._clock())
            if circuit.state is State.DISABLED:
                return Trigger.RELEASED
        return None

    def _cast_shadow(self, gates: tuple[str, ...]) -> None:
        for name, machine in (("breaker", self.circuit), ("throttle", self.throttler), ("rate_limit", self.rate),
                              ("max_concurrent", self.slots), ("adaptive_limit", self.limiter)):
            if machine is not None and (machine.shadow is None) is (name in gates):
                machine.shadow = functools.partial(self._would_refuse, name) if name in gates else None

    def _would_refuse(self, gate: str) -> None:
        """A gate in shadow mode let a call pass that it would have refused."""
        now, emitter = self._clock(), self.environment.emitter
        self.recorder.count((_SHADOW_REJECTED,), now)
        if emitter.wanted(ShadowRejected):
            emitter.emit(ShadowRejected(self._key, self._group, gate, now))

    def forget(self) -> None:
        """Know of no call so far, but for those under way; circuit and recorder are reset apart from this."""
        now = self._clock()
        for machine in (self.throttler, self.rate, self.limiter):
            if machine is not None:
                machine.clear(now)
        if self.hedge is not None:
            self.hedge.racer.renew()
        if self.caches is not None:
            self.caches.clear()

    def renew(self, now: float) -> None:
        """Start over in a forked child: fresh locks and statistics, no calls in flight."""
        self.slots.renew()
        self.recorder.renew(now)
        for machine in (self.circuit, self.throttler, self.rate, self.limiter):
            if machine is not None:
                machine.renew(now)
        if self.hedge is not None:
            self.hedge.racer.renew()
        if self.isolation is not None:
            self.isolation.renew()
        if self.caches is not None:
            self.caches.renew()

    # -- for wrappers

    def bound(self) -> dict[str, Any]:
        """What a wrapper binds: the gates' and drivers' methods, under the template's names."""
        circuit, slots, deadlines, isolation = self.circuit, self.slots, self.deadlines, self.isolation
        recorder, throttler, limiter = self.recorder, self.throttler, self.limiter
        return {
            "throttle": throttler,
            "shed": throttler and throttler.acquire,
            "answered": throttler and throttler.settle,
            "random": self.environment.random,
            "rate": self.rate,
            "pace": self.rate and self.rate.pace,
            "reserve": self.rate and self.rate.reserve,
            "report": limiter and limiter.report,
            "clock": self._clock,
            "recorder": recorder,
            "pending": recorder.pending,
            "push": recorder.pending.append,
            "drain": recorder.drain,
            "success": recorder.success,
            "circuit": circuit,
            "admit": circuit and circuit.acquire,
            "settle": circuit and circuit.settle,
            "slots": slots,
            "enter": deadlines.enter,
            "leave": deadlines.leave,
            "lapsed": deadlines.lapsed,
            "submit": isolation and isolation.submit,
            "wait": isolation and isolation.wait,
        }

    def turns(self, limit: AdaptiveLimit, flavour: Flavour) -> dict[str, Any]:
        """What the wrapper of a function under an adaptive limit binds besides."""
        assert self.limiter is not None
        turns = Turns(self.limiter, key=self._key, clock=self._clock, priorities=limit.priorities)
        return {"take": turns.take, "queue": turns.wait_async if flavour.is_async else turns.wait}

    def line(self, flavour: Flavour) -> dict[str, Any]:
        """What the wrapper of a function under a rate limit binds besides."""
        assert self.rate is not None
        line = Line(self.rate, key=self._key, clock=self._clock)
        return {"linger": line.wait_async if flavour.is_async else line.wait}

    def retrying(self, ledger: Ledger, flavour: Flavour) -> dict[str, Any]:
        """What the wrapper of a function with a retry binds besides."""
        assert self.retry is not None
        environment, clock = self.environment, self._clock
        retrying = Retrying(self.retry, key=self._key, group=self._group, clock=clock, random=environment.random,
                            recorder=self.recorder, emitter=environment.emitter, ledger=ledger)
        nap = retrying.nap_async(async_sleeper(clock)) if flavour.is_async else retrying.nap(sleeper(clock))
        return {"retries": self.retry, "again": retrying.again, "unwanted": retrying.unwanted, "nap": nap}

    def hedging(self, *, deposits: bool) -> Hedging:
        """The hedges of a function; *deposits*: see Hedging."""
        assert self.hedge is not None
        environment = self.environment
        return Hedging(self.hedge, key=self._key, group=self._group, clock=self._clock, slots=self.slots,
                       circuit=self.circuit, recorder=self.recorder, emitter=environment.emitter, deposits=deposits)

    def in_chaos(self, fn: Callable[..., Any], flavour: Flavour) -> Callable[..., Any]:
        """What the wrapper of a function with chaos calls instead of it."""
        assert self.chaos is not None
        environment = self.environment
        havoc = Havoc(self.chaos, key=self._key, group=self._group, clock=self._clock, random=environment.random,
                      recorder=self.recorder, emitter=environment.emitter, unrest=environment.unrest)
        return havoc.over(fn, flavour)

    def caching(self, keys: CacheKeys, rescue: Callable[..., Any] | None, flavour: Flavour) -> Caching:
        """The cache of a new function."""
        assert self.caches is not None
        with self.environment.lock:
            caching = Caching(self.caches, keys, clock=self._clock, recorder=self.recorder, rescue=rescue,
                              is_async=flavour.is_async)
            self.caches.add(caching)
        return caching
