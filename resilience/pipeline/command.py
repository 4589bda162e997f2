"""Command: the machines and statistics of one key, and the handle to look at and steer them.

Functions with the same key share one command: breaker, bulkhead, timeout and
statistics. What each says about it must agree; what one leaves out (a stack
that has no timeout, say) another may add.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Mapping
from math import isnan
from typing import Any, Final

import attrs

from ..core.adaptive import Limiter
from ..core.budget import Budget, RetryBudget
from ..core.bulkhead import TOKEN, Slots
from ..core.circuit import Circuit
from ..core.events import CommandConfigured, ShadowRejected, State, StateChanged, Trigger
from ..core.outcome import EVENT_NAMES, Event
from ..core.saved import SavedCircuit
from ..core.throttle import Throttler
from ..drivers.deadlines import Deadlines
from ..drivers.pauses import async_sleeper, sleeper
from ..drivers.turns import Turns
from ..drivers.workers import Isolation, WorkerPool
from ..errors import ConfigError
from ..metrics.recorder import LATENCY_WINDOW_S, WINDOW_S, Recorder
from ..metrics.snapshot import Snapshot
from .caching import CachePolicy, Caching
from .emitter import Emitter
from .havoc import ChaosPolicy, Havoc
from .ledger import Ledger
from .policies import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    Fallback,
    Retry,
    Shadow,
    ThreadPool,
    Throttle,
    Timeout,
)
from .retrying import Retrying, RetryPolicy
from .template import Flavour

_KINDS: Final = {"throttle": Throttle, "adaptive_limit": AdaptiveLimit, "retry": Retry, "chaos": Chaos,
                 "cache": Cache}
_TRANSITIONS_KEPT: Final = 5
_LIVE: Final = ("timeout", "max_concurrent", "breaker", "throttle", "adaptive_limit", "retry", "chaos", "cache",
                "shadow")
_SHADOW_REJECTED: Final = int(Event.SHADOW_REJECTED)


@attrs.frozen(kw_only=True)
class Settings:
    """What is in force for a command.

    Attributes:
        timeout: Seconds; None: no timeout.
        max_concurrent: Calls at once; None: no limit.
        isolation: "thread" if any of its functions runs on worker threads, else "semaphore".
        cache: None: no cache.
        retry: None: no retry.
        breaker: None: no breaker.
        throttle: None: no throttle.
        adaptive_limit: None: none; with one, ``max_concurrent`` is None, and a snapshot's tells what it found.
        chaos: None: no chaos. With one there is chaos only while the registry says so.
        pool: The group's threads; None: in their default number.
        shadow: Gates that only count what they would refuse, by the names of their settings.
        has_fallback: Whether any of its functions has one.
        fallback_max_concurrent: How many fallbacks of one function may run at once.
    """

    timeout: float | None = None
    max_concurrent: int | None = None
    isolation: str = "semaphore"
    cache: Cache | None = None
    retry: Retry | None = None
    breaker: CircuitBreaker | None = None
    throttle: Throttle | None = None
    adaptive_limit: AdaptiveLimit | None = None
    chaos: Chaos | None = None
    pool: ThreadPool | None = None
    shadow: tuple[str, ...] = ()
    has_fallback: bool = False
    fallback_max_concurrent: int = 10


@attrs.define
class Environment:
    """What a registry lends its commands; ``lock`` is the registry's, and another after a fork."""

    clock: Callable[[], float]
    random: Callable[[], float]
    emitter: Emitter
    lock: threading.RLock
    budgets: dict[str, Budget] = attrs.field(factory=dict)
    unrest: dict[str | None, float] = attrs.field(factory=dict)  # until when chaos reigns, by key; None: for all

    def budget(self, group: str, config: RetryBudget | None) -> Budget | None:
        """The retry budget of a group: the one that was said last. The caller holds the lock."""
        if config is None:
            return None
        budget = self.budgets.get(group)
        if budget is None:
            budget = self.budgets[group] = Budget(config, self.clock())
        elif budget.config != config:
            budget.configure(config, self.clock())
        return budget


@functools.lru_cache(maxsize=256)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """One set for all commands that say the same; each takes 728 bytes."""
    return names


class Command:
    """One command of a registry. Every method may be called from any thread.

    Made by decorating a function; the function's ``resilience`` attribute is it.
    """

    __slots__ = (
        "__weakref__",
        "_cache",
        "_chaos",
        "_circuit",
        "_clock",
        "_deadlines",
        "_declared",
        "_environment",
        "_functions",
        "_group",
        "_isolation",
        "_key",
        "_limiter",
        "_recorder",
        "_retry",
        "_settings",
        "_slots",
        "_stated",
        "_throttler",
        "_timeless",
        "_transitions",
    )

    def __init__(self, key: str, group: str, environment: Environment) -> None:
        self._key, self._group = key, group
        self._environment, self._clock = environment, environment.clock
        now = self._clock()
        self._settings = self._declared = Settings()  # what is in force; what the functions said
        self._stated: frozenset[str] = frozenset()  # settings that a function has said something about
        self._slots = Slots(Bulkhead(None), key=key)
        self._recorder = Recorder(now=now, take_peak=self._slots.take_peak)
        self._deadlines = Deadlines(key, None)
        self._circuit: Circuit | None = None
        self._retry: RetryPolicy | None = None
        self._chaos: ChaosPolicy | None = None
        self._cache: CachePolicy | None = None
        self._throttler: Throttler | None = None
        self._limiter: Limiter | None = None
        self._isolation: Isolation | None = None
        self._transitions: tuple[StateChanged, ...] = ()
        self._functions: list[weakref.ref[Callable[..., Any]]] = []
        self._timeless: str | None = None  # a function of ours that no timeout can reach

    def __repr__(self) -> str:
        return f"<command {self._key!r} {self.state}>"

    # -- look

    @property
    def key(self) -> str:
        """What the command is known by, unique in its registry."""
        return self._key

    @property
    def group(self) -> str:
        """Commands of one group share a dashboard section and a thread pool."""
        return self._group

    @property
    def state(self) -> State:
        """What its circuit does with calls now; "disabled" without a breaker."""
        return State.DISABLED if self._circuit is None else self._circuit.state

    @property
    def settings(self) -> Settings:
        """What is in force now."""
        return self._settings

    @property
    def pool(self) -> WorkerPool | None:
        """The threads its isolated calls run on."""
        return None if self._isolation is None else self._isolation.pool

    @property
    def recorder(self) -> Recorder:
        """Its statistics; for exporters."""
        return self._recorder

    def snapshot(self) -> Snapshot:
        """The command at this moment; costs some 20 us, and calls nothing."""
        now = self._clock()
        reading = self._recorder.read(now)
        circuit = self._circuit
        return Snapshot(
            key=self._key,
            group=self._group,
            at=now,
            state=self.state,
            retry_after=None if circuit is None else circuit.retry_after(now),
            counts=dict(zip(EVENT_NAMES, reading.counts, strict=True)),
            window=WINDOW_S,
            latency=reading.latency,
            latency_window=LATENCY_WINDOW_S,
            in_flight=self._slots.in_flight,
            max_in_flight=reading.max_in_flight,
            max_concurrent=self._slots.limit,
            abandoned=0 if self._isolation is None else self._isolation.abandoned,
            transitions=self._transitions,
        )

    # -- steer

    def force_open(self) -> None:
        """Refuse every call until release() or reset()."""
        self._steer(Trigger.FORCED_OPEN)

    def force_closed(self) -> None:
        """Let every call pass, whatever its result, until release() or reset()."""
        self._steer(Trigger.FORCED_CLOSED)

    def release(self) -> None:
        """End what force_open() or force_closed() began; the circuit decides for itself again."""
        self._steer(Trigger.RELEASED)

    def reset(self) -> None:
        """Close the circuit and empty the rolling statistics."""
        self._recorder.clear()
        if self._circuit is not None:
            self._circuit.steer(Trigger.RESET, self._clock())

    def clear_cache(self) -> None:
        """Forget all answers; what is being executed now will not be kept.

        Raises:
            ConfigError: The command has no cache.
        """
        if self._cache is None:
            raise ConfigError(f"{self._key} has no cache to clear", "cache")
        for caching in self._cachings():
            caching.clear()

    def save(self) -> dict[str, Any]:
        """Its circuit's state as plain numbers and words, fit for JSON; restore() takes it after a restart.

        Raises:
            ConfigError: The command has no breaker.
        """
        if self._circuit is None:
            raise ConfigError(f"{self._key} has no breaker to save", "breaker")
        return attrs.asdict(self._circuit.save(self._clock()))

    def restore(self, saved: Mapping[str, Any], *, elapsed: float = 0.0) -> None:
        """Go on where a command was that was saved; one whose circuit has changed already since it was made does not.

        Args:
            saved: From save().
            elapsed: Seconds gone by since, on the wall clock; less than 0, of a clock that was set back, is 0.

        Raises:
            ConfigError: *saved* is not what save() returns, or the command has no breaker.
        """
        if self._circuit is None:
            raise ConfigError(f"{self._key} has no breaker to restore", "breaker")
        if not isinstance(elapsed, (int, float)) or isnan(elapsed):
            raise ConfigError(f"elapsed must be a number of seconds, not {elapsed!r}", "elapsed")
        try:
            circuit = SavedCircuit(**saved)
        except TypeError as error:
            raise ConfigError(f"{self._key}: that is not what save() returns: {error}", "saved") from None
        self._circuit.restore(circuit, max(0.0, elapsed), self._clock())

    def configure(self, **changes: Any) -> None:
        """Change settings while calls go on; statistics and state stay. All of them, or none.

        Args:
            **changes: Any of ``timeout`` (seconds or None), ``max_concurrent`` (or None), ``breaker`` (a
                CircuitBreaker; None disables it), ``throttle``, ``adaptive_limit``, ``retry``, ``chaos``, ``cache``
                (but not its ``key``) and ``shadow`` (names of gates, True or False). Calls under way keep their
                timeout.

        Raises:
            ConfigError: A value is out of range, or the command has no such policy to change.
        """
        for name in changes:
            if name not in _LIVE:
                raise ConfigError(f"{name} cannot be changed on a live command; {', '.join(_LIVE)} can", name)
        with self._environment.lock:  # two changes at once: the later one adds to the earlier
            for name, value in changes.items():
                self._check_live(name, value)
            if "shadow" in changes:
                changes["shadow"] = Shadow(changes["shadow"]).shadow
            settings = attrs.evolve(self._settings, **changes)
            changed = tuple(name for name in changes if getattr(settings, name) != getattr(self._settings, name))
            switch = self._apply(settings)
        self.switch(switch)
        if changed:
            self._environment.emitter.emit(CommandConfigured(self._key, self._group, changed, self._clock()))

    def _check_live(self, name: str, value: Any) -> None:
        if name == "timeout":
            Timeout(value)
            if value is not None and self._timeless is not None:
                raise ConfigError(f"{self._key}: {self._timeless}", name)
        elif name == "max_concurrent":
            Bulkhead(value)
            if "max_concurrent" not in self._stated:
                raise ConfigError(f"{self._key} has no bulkhead to configure", name)
        elif name == "shadow":
            Shadow(value)
        elif name == "breaker":
            if value is not None and not isinstance(value, CircuitBreaker):
                raise ConfigError(f"breaker must be a CircuitBreaker or None, not {value!r}", name)
            if self._circuit is None:
                raise ConfigError(f"{self._key} has no breaker to configure", name)
        else:
            self._check_kind(name, value)

    def _check_kind(self, name: str, value: Any) -> None:
        kind = _KINDS[name]
        if not isinstance(value, kind):
            raise ConfigError(f"{name} must be of type {kind.__name__}, not {value!r}", name)
        if getattr(self._settings, name) is None:
            raise ConfigError(f"{self._key} has no {name} to configure", name)
        if isinstance(value, Cache) and self._settings.cache is not None and value.key != self._settings.cache.key:
            raise ConfigError(f"{self._key}: the key= of a cache cannot be changed on a live command; "
                              "attrs.evolve() of settings.cache keeps it", "cache")

    # -- for the registry and the decorators

    def conflict(self, wanted: Settings, stated: frozenset[str]) -> str | None:
        """The first setting of *wanted*, among those *stated*, that contradicts what another function said.

        What configure() has changed since is no contradiction.
        """
        both = sorted(stated & self._stated)
        return next((name for name in both if getattr(wanted, name) != getattr(self._declared, name)), None)

    def declared(self, name: str) -> Any:
        """What the functions say about a setting."""
        return getattr(self._declared, name)

    def adopt(self, wanted: Settings, stated: frozenset[str],
              pool: Callable[[], WorkerPool] | None) -> tuple[Trigger | None, tuple[str, ...]]:
        """Bring what *wanted* newly states into force; *pool* lends threads if the function needs them.

        The caller holds the registry's lock, and passes the trigger to switch() when it does no more.

        Returns:
            A trigger, and the names of the settings that are new.
        """
        known, declared = self._stated, self._declared
        news: dict[str, Any] = {name: getattr(wanted, name) for name in stated
                if name not in known or getattr(wanted, name) != getattr(declared, name)}
        same = self._settings is declared
        always: dict[str, Any] = {
            "isolation": "thread" if "thread" in (declared.isolation, wanted.isolation) else "semaphore",
            "has_fallback": declared.has_fallback or wanted.has_fallback,
            "fallback_max_concurrent": (wanted if wanted.has_fallback else declared).fallback_max_concurrent,
        }
        self._declared = attrs.evolve(declared, **news, **always)
        merged = self._declared if same else attrs.evolve(self._settings, **news, **always)
        self._stated = _shared(known | stated)
        recorder = self._recorder
        if self._circuit is None and merged.breaker is not None:
            self._circuit = Circuit(merged.breaker, key=self._key, group=self._group, now=self._clock(),
                                    emit=self._changed, random=self._environment.random,
                                    horizon=lambda: recorder.edge)
        if self._retry is None and merged.retry is not None:
            self._retry = RetryPolicy(merged.retry, None)
        if self._chaos is None and merged.chaos is not None:
            self._chaos = ChaosPolicy(merged.chaos)
        if self._cache is None and merged.cache is not None:
            self._cache = CachePolicy(merged.cache)
        if self._throttler is None and merged.throttle is not None:
            self._throttler = Throttler(merged.throttle, key=self._key, now=self._clock())
        if self._limiter is None and merged.adaptive_limit is not None:
            self._limiter = Limiter(merged.adaptive_limit, key=self._key, now=self._clock(), slots=self._slots)
            recorder.watch(self._limiter.take_peak)
        if self._isolation is None and pool is not None:
            self._isolation = Isolation(self._key, self._slots, pool(), merged.timeout)
        return self._apply(merged), tuple(news)

    def machines(self) -> dict[str, Any]:
        """What a wrapper binds: the gates' and drivers' methods, under the template's names."""
        circuit, slots, deadlines, isolation = self._circuit, self._slots, self._deadlines, self._isolation
        recorder, throttler, limiter = self._recorder, self._throttler, self._limiter
        return {
            "throttle": throttler,
            "shed": throttler and throttler.acquire,
            "answered": throttler and throttler.settle,
            "random": self._environment.random,
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
            "TOKEN": TOKEN,
            "enter": deadlines.enter,
            "leave": deadlines.leave,
            "lapsed": deadlines.lapsed,
            "submit": isolation and isolation.submit,
            "wait": isolation and isolation.wait,
        }

    def turns(self, limit: AdaptiveLimit, flavour: Flavour) -> dict[str, Any]:
        """What the wrapper of a function under an adaptive limit binds besides."""
        assert self._limiter is not None
        turns = Turns(self._limiter, key=self._key, clock=self._clock, priorities=limit.priorities)
        return {"take": turns.take, "queue": turns.wait_async if flavour.is_async else turns.wait}

    def retrying(self, ledger: Ledger, flavour: Flavour) -> dict[str, Any]:
        """What the wrapper of a function with a retry binds besides."""
        assert self._retry is not None
        environment, clock = self._environment, self._clock
        retrying = Retrying(self._retry, key=self._key, group=self._group, clock=clock, random=environment.random,
                            recorder=self._recorder, emitter=environment.emitter, ledger=ledger)
        nap = async_sleeper(clock) if flavour.is_async else sleeper(clock)
        return {"begin": retrying.begin, "again": retrying.again, "unwanted": retrying.unwanted, "nap": nap}

    def in_chaos(self, fn: Callable[..., Any], flavour: Flavour) -> Callable[..., Any]:
        """What the wrapper of a function with chaos calls instead of it."""
        assert self._chaos is not None
        environment = self._environment
        havoc = Havoc(self._chaos, key=self._key, group=self._group, clock=self._clock, random=environment.random,
                      recorder=self._recorder, emitter=environment.emitter, unrest=environment.unrest)
        return havoc.over(fn, flavour)

    def caching(self, policy: Cache, fn: Callable[..., Any], fallback: Fallback | None,
                rescue: Callable[..., Any] | None) -> Caching:
        """The cache of a new function of this command."""
        assert self._cache is not None
        return Caching(self._cache, fn, key=policy.key, clock=self._clock, recorder=self._recorder, fallback=fallback,
                       rescue=rescue)

    def ledger(self, **of_function: Any) -> Ledger:
        """Accounts for a new function of this command."""
        return Ledger(key=self._key, group=self._group, clock=self._clock, recorder=self._recorder,
                      emitter=self._environment.emitter, **of_function)

    def guards(self, function: Callable[..., Any], timeless: str | None) -> None:
        """Take note of a wrapper; *timeless* says why no timeout can reach it, None if one can."""
        self._functions = [each for each in self._functions if each() is not None] + [weakref.ref(function)]
        self._timeless = self._timeless or timeless

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The wrappers, of those still alive, that share this command."""
        return [function for each in self._functions if (function := each()) is not None]

    def renew(self) -> None:
        """Start over in a forked child: fresh locks and statistics, no calls in flight."""
        now = self._clock()
        self._slots.renew()
        self._recorder.renew(now)
        for machine in (self._circuit, self._throttler, self._limiter):
            if machine is not None:
                machine.renew(now)
        if self._isolation is not None:
            self._isolation.renew()
        for function in self.functions:
            function.__resilience_guard__.ledger.renew()  # type: ignore[attr-defined]
        for caching in self._cachings():
            caching.renew()

    def switch(self, trigger: Trigger | None) -> None:
        """Tell the circuit what adopt() found it needs; outside the registry's lock, for listeners hear of it."""
        if trigger is not None:
            self._steer(trigger)

    def _apply(self, settings: Settings) -> Trigger | None:
        old, self._settings = self._settings, settings
        if settings.max_concurrent != old.max_concurrent:
            self._slots.configure(Bulkhead(settings.max_concurrent))
        if self._throttler is not None and settings.throttle is not None and settings.throttle != old.throttle:
            self._throttler.configure(settings.throttle, self._clock())
        if self._limiter is not None and settings.adaptive_limit is not None \
                and settings.adaptive_limit != old.adaptive_limit:
            self._limiter.configure(settings.adaptive_limit, self._clock())
        self._replace(settings)
        self._cast_shadow(settings.shadow)
        self._deadlines.timeout = settings.timeout
        if self._isolation is not None:
            self._isolation.timeout = settings.timeout
            if settings.max_concurrent is not None:
                self._isolation.pool.grow(settings.max_concurrent)
        circuit = self._circuit
        if circuit is not None and settings.breaker != old.breaker:
            if settings.breaker is None:
                return Trigger.DISABLED
            circuit.configure(settings.breaker, self._clock())
            if circuit.state is State.DISABLED:
                return Trigger.RELEASED
        return None

    def _replace(self, settings: Settings) -> None:
        """Hand on the policies that keep nothing between calls."""
        if self._retry is not None and settings.retry is not None:
            self._retry.policy = settings.retry
            self._retry.budget = self._environment.budget(self._group, settings.retry.budget)
        if self._chaos is not None and settings.chaos is not None:
            self._chaos.policy = settings.chaos

        if self._cache is not None and settings.cache is not None and settings.cache != self._cache.policy:
            was, self._cache.policy = self._cache.policy, settings.cache
            for caching in self._cachings():
                caching.configure(settings.cache)
                if was.scope != settings.cache.scope:
                    caching.clear()

    def _cachings(self) -> list[Caching]:
        """The caches of its functions."""
        guards = (function.__resilience_guard__ for function in self.functions)  # type: ignore[attr-defined]
        return [guard.caching for guard in guards if guard.caching is not None]

    def _cast_shadow(self, gates: tuple[str, ...]) -> None:
        for name, machine in (("breaker", self._circuit), ("throttle", self._throttler),
                              ("max_concurrent", self._slots), ("adaptive_limit", self._limiter)):
            if machine is not None and (machine.shadow is None) is (name in gates):
                machine.shadow = functools.partial(self._would_refuse, name) if name in gates else None

    def _would_refuse(self, gate: str) -> None:
        """A gate in shadow mode let a call pass that it would have refused."""
        now, emitter = self._clock(), self._environment.emitter
        self._recorder.count((_SHADOW_REJECTED,), now)
        if emitter.wanted(ShadowRejected):
            emitter.emit(ShadowRejected(self._key, self._group, gate, now))

    def _steer(self, trigger: Trigger) -> None:
        if self._circuit is None:
            raise ConfigError(f"{self._key} has no breaker to steer", "breaker")
        self._circuit.steer(trigger, self._clock())

    def _changed(self, event: StateChanged) -> None:
        latest = sorted((*self._transitions, event), key=lambda each: each.term)  # arrival is not order
        self._transitions = tuple(latest[-_TRANSITIONS_KEPT:])
        self._environment.emitter.emit(event)
