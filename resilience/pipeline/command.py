"""Command: the machines and statistics of one key, and the handle to look at and steer them.

Functions with the same key share one command: breaker, bulkhead, timeout and
statistics. What each says about it must agree; what one leaves out (a stack
that has no timeout, say) another may add.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from math import inf, isnan
from typing import Any, Final

import attrs

from ..core.events import CommandConfigured, State, StateChanged, Trigger
from ..core.outcome import EVENT_NAMES, Event
from ..core.saved import SavedCircuit
from ..drivers.workers import WorkerPool
from ..errors import ConfigError
from ..metrics.recorder import LATENCY_WINDOW_S, WINDOW_S, Recorder
from ..metrics.snapshot import Snapshot
from .environment import Environment
from .ledger import Ledger
from .machines import Machines
from .policies import Bulkhead, CircuitBreaker, Shadow, Timeout
from .settings import KINDS, LIVE, Settings

_TRANSITIONS_KEPT: Final = 5
_COLLAPSED: Final = (int(Event.COLLAPSED),)


@functools.lru_cache(maxsize=256)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """One set for all commands that say the same; each takes 728 bytes."""
    return names


class Command:
    """One command of a registry. Every method may be called from any thread.

    Made by decorating a function; the function's ``resilience`` attribute is it.
    """

    __slots__ = ("__weakref__", "_clock", "_declared", "_environment", "_functions", "_group", "_key", "_machines",
                 "_settings", "_stated", "_template", "_timeless", "_transitions")

    def __init__(self, key: str, group: str, environment: Environment, template: str | None = None) -> None:
        self._key, self._group, self._template = key, group, template
        self._environment, self._clock = environment, environment.clock
        self._settings = self._declared = Settings()  # what is in force; what the functions said
        self._stated: frozenset[str] = frozenset()  # settings that a function has said something about
        self._machines = Machines(key, group, environment)
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
    def names(self) -> tuple[str, ...]:
        """What a file may call it: its key, after the name of the function that it is one of many commands of."""
        return (self._key,) if self._template is None else (self._template, self._key)

    @property
    def state(self) -> State:
        """What its circuit does with calls now; "disabled" without a breaker."""
        return State.DISABLED if self._machines.circuit is None else self._machines.circuit.state

    @property
    def settings(self) -> Settings:
        """What is in force now."""
        return self._settings

    @property
    def in_flight(self) -> int:
        """Calls that hold a slot now, abandoned ones included; 0 without a bulkhead."""
        return self._machines.slots.in_flight

    @property
    def cached(self) -> int:
        """Answers that its caches hold for all callers, some of them expired perhaps; 0 without a cache."""
        return 0 if self._machines.caches is None else len(self._machines.caches)

    @property
    def needed_until(self) -> float:
        """Until when its circuit knows something that a new one would not; never (-inf) while it is closed."""
        if self.state in (State.OPEN, State.HALF_OPEN):
            assert self._machines.circuit is not None
            return self._machines.circuit.term.until
        return inf if self.state in (State.FORCED_OPEN, State.FORCED_CLOSED) else -inf

    @property
    def pool(self) -> WorkerPool | None:
        """The threads its isolated calls run on."""
        return None if self._machines.isolation is None else self._machines.isolation.pool

    @property
    def recorder(self) -> Recorder:
        """Its statistics; for exporters."""
        return self._machines.recorder

    def snapshot(self) -> Snapshot:
        """The command at this moment; costs some 20 us, and calls nothing."""
        now = self._clock()
        reading = self._machines.recorder.read(now)
        circuit = self._machines.circuit
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
            in_flight=self._machines.slots.in_flight,
            max_in_flight=reading.max_in_flight,
            max_concurrent=self._machines.slots.limit,
            abandoned=0 if self._machines.isolation is None else self._machines.isolation.abandoned,
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
        self._machines.recorder.clear()
        if self._machines.circuit is not None:
            self._machines.circuit.steer(Trigger.RESET, self._clock())

    def forget(self) -> None:
        """Leave behind what reset() keeps: what limits have learnt and booked, kept answers, the last transitions."""
        self._machines.forget()
        self._transitions = ()

    def clear_cache(self) -> None:
        """Forget all answers; what is being executed now will not be kept.

        Raises:
            ConfigError: The command has no cache.
        """
        if self._machines.caches is None:
            raise ConfigError(f"{self._key} has no cache to clear", "cache")
        self._machines.caches.clear()

    def save(self) -> dict[str, Any]:
        """Its circuit's state as plain numbers and words, fit for JSON; restore() takes it after a restart.

        Raises:
            ConfigError: The command has no breaker.
        """
        if self._machines.circuit is None:
            raise ConfigError(f"{self._key} has no breaker to save", "breaker")
        return attrs.asdict(self._machines.circuit.save(self._clock()))

    def restore(self, saved: Mapping[str, Any], *, elapsed: float = 0.0) -> None:
        """Go on where a command was that was saved; one whose circuit has changed already since it was made does not.

        Args:
            saved: From save().
            elapsed: Seconds gone by since, on the wall clock; less than 0, of a clock that was set back, is 0.

        Raises:
            ConfigError: *saved* is not what save() returns, or the command has no breaker.
        """
        if self._machines.circuit is None:
            raise ConfigError(f"{self._key} has no breaker to restore", "breaker")
        if not isinstance(elapsed, (int, float)) or isnan(elapsed):
            raise ConfigError(f"elapsed must be a number of seconds, not {elapsed!r}", "elapsed")
        try:
            circuit = SavedCircuit(**saved)
        except TypeError as error:
            raise ConfigError(f"{self._key}: that is not what save() returns: {error}", "saved") from None
        self._machines.circuit.restore(circuit, max(0.0, elapsed), self._clock())

    def configure(self, **changes: Any) -> None:
        """Change settings while calls go on; statistics and state stay. All of them, or none.

        Args:
            **changes: Any of ``timeout`` (seconds or None), ``max_concurrent`` (or None), ``breaker`` (a
                CircuitBreaker; None disables it), ``throttle``, ``rate_limit``, ``adaptive_limit``, ``retry``,
                ``cache`` (but for its ``by``), ``chaos`` and ``shadow`` (names of gates, True or False). Calls under
                way keep their timeout.

        Raises:
            ConfigError: A value is out of range, or the command has no such policy to change.
        """
        with self._environment.lock:  # two changes at once: the later one adds to the earlier
            self.check(changes)
            if "shadow" in changes:
                changes["shadow"] = Shadow(changes["shadow"]).shadow
            settings = attrs.evolve(self._settings, **changes)
            changed = tuple(name for name in changes if getattr(settings, name) != getattr(self._settings, name))
            switch = self._apply(settings)
        self.switch(switch)
        if changed:
            self._environment.emitter.emit(CommandConfigured(self._key, self._group, changed, self._clock()))

    def check(self, changes: Mapping[str, Any]) -> None:
        """Raise ConfigError if configure() would."""
        for name in changes:
            if name not in LIVE:
                raise ConfigError(f"{name} cannot be changed on a live command; {', '.join(LIVE)} can", name)
        for name, value in changes.items():
            self._check_live(name, value)

    def _check_live(self, name: str, value: Any) -> None:
        if name == "timeout":
            Timeout(value)
            if value is not None and self._timeless is not None:
                raise ConfigError(f"{self.names[0]}: {self._timeless}", name)
        elif name == "max_concurrent":
            Bulkhead(value)
            if "max_concurrent" not in self._stated:
                raise ConfigError(f"{self.names[0]} has no bulkhead to configure", name)
        elif name == "shadow":
            Shadow(value)
        elif name == "breaker":
            if value is not None and not isinstance(value, CircuitBreaker):
                raise ConfigError(f"breaker must be a CircuitBreaker or None, not {value!r}", name)
            if self._machines.circuit is None:
                raise ConfigError(f"{self.names[0]} has no breaker to configure", name)
        else:
            self._check_kind(name, value)

    def _check_kind(self, name: str, value: Any) -> None:
        kind = KINDS[name]
        if not isinstance(value, kind):
            raise ConfigError(f"{name} must be of type {kind.__name__}, not {value!r}", name)
        known = getattr(self._settings, name)
        if known is None:
            raise ConfigError(f"{self.names[0]} has no {name} to configure", name)
        if name == "cache" and value.by != known.by:
            raise ConfigError(f"{self.names[0]}: by= of a cache cannot be changed on a live command; "
                              "attrs.evolve() of settings.cache keeps it", name)

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
        # Weakly: else a command would be in a cycle, and outlive its eviction.
        self._machines.grow(merged, pool, functools.partial(_note, weakref.ref(self)))
        return self._apply(merged), tuple(news)

    def collapsed(self, calls: int) -> None:
        """Count single *calls* that are one call of its function now."""
        self._machines.recorder.count(_COLLAPSED, self._clock(), calls)

    @property
    def machines(self) -> Machines:
        """What stands behind its settings; for the compiler."""
        return self._machines

    def ledger(self, **of_function: Any) -> Ledger:
        """Accounts for a new function of this command."""
        return Ledger(key=self._key, group=self._group, clock=self._clock, recorder=self._machines.recorder,
                      emitter=self._environment.emitter, **of_function)

    def guards(self, function: Callable[..., Any], timeless: str | None) -> None:
        """Take note of a wrapper; *timeless* says why no timeout can reach it, None if one can."""
        self._functions = [each for each in self._functions if each() is not None] + [weakref.ref(function)]
        self._timeless = self._timeless or timeless

    def forgoes(self, function: Callable[..., Any]) -> None:
        """A wrapper is not to be called any more, though somebody may hold it, such as a traceback."""
        self._functions = [each for each in self._functions if each() not in (None, function)]

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The wrappers, of those still alive, that share this command."""
        return [function for each in self._functions if (function := each()) is not None]

    def renew(self) -> None:
        """Start over in a forked child: fresh locks and statistics, no calls in flight."""
        self._machines.renew(self._clock())
        for function in self.functions:
            function.__resilience_guard__.ledger.renew()  # type: ignore[attr-defined]

    def switch(self, trigger: Trigger | None) -> None:
        """Tell the circuit what adopt() found it needs; outside the registry's lock, for listeners hear of it."""
        if trigger is not None:
            self._steer(trigger)

    def _apply(self, settings: Settings) -> Trigger | None:
        declared = self._declared
        if self._machines.reserve is not None:  # a timeout that no function declares needs threads
            moved = settings.timeout is not None and settings.timeout != declared.timeout
            settings = attrs.evolve(settings, isolation="thread" if moved else declared.isolation)
        old, self._settings = self._settings, settings
        return self._machines.apply(settings, old)

    def _steer(self, trigger: Trigger) -> None:
        if self._machines.circuit is None:
            raise ConfigError(f"{self._key} has no breaker to steer", "breaker")
        self._machines.circuit.steer(trigger, self._clock())

    def note(self, event: StateChanged) -> None:
        """The circuit has changed its state: keep it, and tell listeners."""
        latest = sorted((*self._transitions, event), key=lambda each: each.term)  # arrival is not order
        self._transitions = tuple(latest[-_TRANSITIONS_KEPT:])
        self._environment.emitter.emit(event)


def _note(command: weakref.ref[Command], event: StateChanged) -> None:
    known = command()
    if known is not None:
        known.note(event)
