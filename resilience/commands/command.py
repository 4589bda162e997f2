"""Command: the machines and statistics of one key, and the handle to look at and steer them.

Functions with the same key share one command: breaker, bulkhead, timeout and
statistics. What each says about it must agree; what one leaves out (a stack
that has no timeout, say) another may add.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import weakref
from collections.abc import Callable, Mapping
from math import inf, isnan
from typing import Any, Final

import attrs

from ..core.checks import by_identity, nearest
from ..core.circuit_checkpoint import CircuitCheckpoint
from ..core.events import CommandConfigured, State, StateChanged, Trigger
from ..core.outcome import EVENT_NAMES, Event
from ..core.reasons import FAILED
from ..drivers.workers import WorkerPool
from ..engine.call_accounting import CallAccounting
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, Kit
from ..engine.registry_services import FunctionRef, RegistryServices
from ..errors import ConfigError, LastFailure
from ..metrics.recorder import LATENCY_WINDOW_S, WINDOW_S, Recorder
from ..metrics.snapshot import Snapshot
from ..policies.order import kit_named, kits, setting_kits
from ..policies.settings import Settings, live_settings
from ..policies.shadow import Shadow

_TRANSITIONS_KEPT: Final = 5
_logger: Final = logging.getLogger("resilience")
_BLAMING: Final = (*FAILED, Trigger.PROBE_FAILED)  # triggers that a failed call pulls
_COLLAPSED: Final = (int(Event.COLLAPSED),)


@functools.lru_cache(maxsize=256)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """One set for all commands that say the same; each takes 728 bytes."""
    return names


def _policies(settings: Settings) -> dict[Kit, Any]:
    """What the *settings* mean, by kit."""
    return {kit: kit.meant(getattr(settings, kit.name)) for kit in setting_kits()}


class Command:
    """One command of a registry. Every method may be called from any thread.

    Made by decorating a function; the function's ``resilience`` attribute is it.
    """

    __slots__ = (
        "__weakref__",
        "_cannot",
        "_clock",
        "_declared",
        "_derived_from",
        "_functions",
        "_group",
        "_key",
        "_runtime",
        "_services",
        "_settings",
        "_stated",
        "_template",
        "_transitions",
    )

    def __init__(self, key: str, group: str, services: RegistryServices, template: str | None = None,
                 derived_from: str | None = None) -> None:
        self._key, self._group, self._template = key, group, template
        self._derived_from = derived_from
        self._services, self._clock = services, services.clock
        self._settings = self._declared = Settings()  # what is in force; what the functions said
        self._stated: frozenset[str] = frozenset()  # settings that a function has said something about
        # Weakly: else a command would be in a cycle, and outlive its eviction.
        self._runtime = CommandRuntime(key, group, services, kits(), functools.partial(_note, weakref.ref(self)))
        self._transitions: tuple[StateChanged, ...] = ()
        self._functions: list[FunctionRef] = []
        self._cannot: Mapping[str, str] = {}  # settings that cannot be in force for some function of ours, and why

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
    def derived_from(self) -> str | None:
        """The name of its function, if its key was derived from that; it goes when the function does, then."""
        return self._derived_from

    @property
    def was_guarded(self) -> bool:
        """Whether it has, or had, a function; not while the first is being made."""
        return bool(self._functions)

    @property
    def names(self) -> tuple[str, ...]:
        """What a file may call it: its key, after the name of the function that it is one of many commands of."""
        return (self._key,) if self._template is None else (self._template, self._key)

    @property
    def state(self) -> State:
        """What its circuit does with calls now; "disabled" without a breaker."""
        return State.DISABLED if self._runtime.circuit is None else self._runtime.circuit.state

    @property
    def settings(self) -> Settings:
        """What is in force now."""
        return self._settings

    @property
    def in_flight(self) -> int:
        """Calls that hold a slot now, abandoned ones included; 0 without a bulkhead."""
        return self._runtime.slots.in_flight

    @property
    def cached(self) -> int:
        """Answers that its caches hold for all callers, some of them expired perhaps; 0 without a cache."""
        return 0 if self._runtime.named("cache") is None else len(self._runtime.named("cache"))

    @property
    def needed_until(self) -> float:
        """Until when its circuit knows something that a new one would not; never (-inf) while it is closed."""
        if self.state in (State.OPEN, State.HALF_OPEN):
            assert self._runtime.circuit is not None
            return self._runtime.circuit.term.until
        return inf if self.state in (State.FORCED_OPEN, State.FORCED_CLOSED) else -inf

    @property
    def pool(self) -> WorkerPool | None:
        """The threads its isolated calls run on."""
        return None if self._runtime.isolation is None else self._runtime.isolation.pool

    @property
    def recorder(self) -> Recorder:
        """Its statistics; for exporters."""
        return self._runtime.recorder

    def snapshot(self) -> Snapshot:
        """The command at this moment; costs some 20 us, and calls nothing."""
        now = self._clock()
        reading = self._runtime.recorder.read(now)
        circuit, own = self._runtime.circuit, self._runtime.recorder.own_events
        failure, term = self._runtime.failures.last, None if circuit is None else circuit.term
        counts = dict(zip(EVENT_NAMES, reading.counts, strict=False))
        for name, number in own:
            counts[name] = reading.counts[number] if number < len(reading.counts) else 0
        return Snapshot(
            key=self._key,
            group=self._group,
            at=now,
            state=self.state,
            retry_after=None if circuit is None else circuit.retry_after(now),
            counts=counts,
            own_refusals=tuple(name for name, _ in own),
            gauges=self._runtime.gauges(),
            window=WINDOW_S,
            latency=reading.latency,
            latency_window=LATENCY_WINDOW_S,
            in_flight=self._runtime.slots.in_flight,
            max_in_flight=reading.max_in_flight,
            max_concurrent=self._runtime.slots.limit,
            abandoned=0 if self._runtime.isolation is None else self._runtime.isolation.abandoned,
            transitions=self._transitions,
            state_since=None if term is None else term.since,
            opened_at=None if circuit is None else circuit.opened_at,
            reason=None if term is None or term.standing is None else term.standing[2],
            last_failure=None if failure is None else LastFailure(*failure),
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
        self._runtime.recorder.clear()
        self._runtime.failures.clear()
        if self._runtime.circuit is not None:
            self._runtime.circuit.steer(Trigger.RESET, self._clock())

    def forget(self) -> None:
        """Leave behind what reset() keeps: what limits have learnt and booked, kept answers, the last transitions."""
        self._runtime.forget()
        self._transitions = ()

    def clear_cache(self) -> None:
        """Forget all answers; what is being executed now will not be kept.

        Raises:
            ConfigError: The command has no cache.
        """
        if self._runtime.named("cache") is None:
            raise ConfigError(f"{self._key} has no cache to clear", "cache")
        self._runtime.named("cache").clear()

    def save(self) -> dict[str, Any]:
        """Its circuit's state as plain numbers and words, fit for JSON; restore() takes it after a restart.

        Raises:
            ConfigError: The command has no breaker.
        """
        if self._runtime.circuit is None:
            raise ConfigError(f"{self._key} has no breaker to save", "breaker")
        return attrs.asdict(self._runtime.circuit.save(self._clock()))

    def restore(self, saved: Mapping[str, Any], *, elapsed: float = 0.0) -> None:
        """Go on where a command was that was saved; one whose circuit has changed already since it was made does not.

        Args:
            saved: From save().
            elapsed: Seconds gone by since, on the wall clock; less than 0, of a clock that was set back, is 0.

        Raises:
            ConfigError: *saved* is not what save() returns, or the command has no breaker.
        """
        if self._runtime.circuit is None:
            raise ConfigError(f"{self._key} has no breaker to restore", "breaker")
        if not isinstance(elapsed, (int, float)) or isnan(elapsed):
            raise ConfigError(f"elapsed must be a number of seconds, not {elapsed!r}", "elapsed")
        try:
            circuit = CircuitCheckpoint(**saved)
        except TypeError as error:
            raise ConfigError(f"{self._key}: that is not what save() returns: {error}", "saved") from None
        self._runtime.circuit.restore(circuit, max(0.0, elapsed), self._clock())

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
        with self._services.lock:  # two changes at once: the later one adds to the earlier
            self.check(changes)
            if "shadow" in changes:
                changes["shadow"] = Shadow(changes["shadow"]).shadow
            settings = self._settings.changed(**changes)
            changed = tuple(name for name in changes if getattr(settings, name) != getattr(self._settings, name))
            afterwards = self._apply(settings)
        self.finish(afterwards)
        if changed:
            self._services.emitter.emit(CommandConfigured(self._key, self._group, changed, self._clock()))

    def check(self, changes: Mapping[str, Any]) -> None:
        """Raise ConfigError if configure() would."""
        live = live_settings()
        for name in changes:
            if name not in live:
                near = nearest(name, live)
                hint = f"; did you mean {near}?" if near else ""
                raise ConfigError(f"{name} cannot be changed on a live command; {', '.join(live)} can{hint}", name)
        for name, value in changes.items():
            self._check_live(name, value)

    def _check_live(self, name: str, value: Any) -> None:
        kit = kit_named(name)
        if kit is None:
            Shadow(value)
            return
        policy = kit.meant(value)
        if value is not None and name in self._cannot:
            raise ConfigError(f"{self.names[0]}: {self._cannot[name]}", name)
        if kit.always:
            can_move = name == "timeout" and self._runtime.reserve is not None  # to threads, where one can reach it
            missing = name not in self._stated and name not in self._cannot and not can_move
        else:
            missing = self._runtime.of(kit) is None or (not kit.can_be_off and getattr(self._settings, name) is None)
        if missing:
            raise ConfigError(f"{self.names[0]} has no {kit.noun or name} to configure", name)
        if policy is None and not kit.can_be_off:
            raise ConfigError(f"{name} cannot be switched off on a live command; it must be of type "
                              f"{kit.policy.__name__}", name)
        known = getattr(self._settings, name)
        for field in kit.kept:
            if by_identity(getattr(policy, field)) != by_identity(getattr(known, field)):
                raise ConfigError(f"{self.names[0]}: {field}= of a {kit.noun or name} cannot be changed on a live "
                                  f"command; attrs.evolve() of settings.{name} keeps it", name)

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
              pool: Callable[[], WorkerPool] | None) -> tuple[list[Afterwards], tuple[str, ...]]:
        """Bring what *wanted* newly states into force; *pool* lends threads if the function needs them.

        The caller holds the registry's lock, and passes the first to finish() when it does no more.

        Returns:
            What is to be done then, and the names of the settings that are new.
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
        self._declared = declared.changed(**news, **always)
        merged = self._declared if same else self._settings.changed(**news, **always)
        self._stated = _shared(known | stated)
        try:
            return self._apply(merged, pool), tuple(news)
        except BaseException:  # of a user's policy, or an interrupt: a decoration that fails leaves no trace
            self._declared, self._stated = declared, known
            raise

    def collapsed(self, calls: int) -> None:
        """Count single *calls* that are one call of its function now."""
        self._runtime.recorder.count(_COLLAPSED, self._clock(), calls)

    @property
    def runtime(self) -> CommandRuntime:
        """What stands behind its settings; for the compiler."""
        return self._runtime

    def accounting(self, **of_function: Any) -> CallAccounting:
        """Accounts for a new function of this command."""
        return CallAccounting(key=self._key, group=self._group, clock=self._clock, recorder=self._runtime.recorder,
                      emitter=self._services.emitter, failures=self._runtime.failures, **of_function)

    def guards(self, function: Callable[..., Any], cannot: Mapping[str, str]) -> None:
        """Take note of a wrapper; *cannot* names the settings that cannot be in force for it, each with the reason."""
        alive = [each for each in self._functions if each() is not None]
        self._functions = [*alive, FunctionRef(function, self._services.depart, self._key)]
        self._cannot = {**cannot, **self._cannot}

    def remove_function(self, function: Callable[..., Any]) -> None:
        """A wrapper is not to be called any more, though somebody may hold it, such as a traceback."""
        self._functions = [each for each in self._functions if each() not in (None, function)]

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The wrappers, of those still alive, that share this command."""
        return [function for each in self._functions if (function := each()) is not None]

    def renew(self) -> None:
        """Start over in a forked child: fresh locks and statistics, no calls in flight."""
        self._runtime.renew(self._clock())
        for function in self.functions:
            function.__resilience_guard__.accounting.renew()  # type: ignore[attr-defined]

    def switch(self, trigger: Trigger | None) -> None:
        """Steer the circuit, if there is a *trigger*; outside the registry's lock, for listeners hear of it."""
        if trigger is not None:
            self._steer(trigger)

    def finish(self, afterwards: list[Afterwards]) -> None:
        """Do what adopt() found is to be done outside of the registry's lock: listeners hear of it."""
        for after in afterwards:
            after()

    def _apply(self, settings: Settings, pool: Callable[[], WorkerPool] | None = None) -> list[Afterwards]:
        declared = self._declared
        if self._runtime.reserve is not None:  # a timeout that no function declares needs threads
            moved = settings.timeout is not None and settings.timeout != declared.timeout
            settings = settings.changed(isolation="thread" if moved else declared.isolation)
        old, self._settings = self._settings, settings
        try:
            return self._runtime.apply(_policies(settings), _policies(old), settings, pool)
        except BaseException:
            self._settings = old
            raise

    def _steer(self, trigger: Trigger) -> None:
        if self._runtime.circuit is None:
            raise ConfigError(f"{self._key} has no breaker to steer", "breaker")
        self._runtime.circuit.steer(trigger, self._clock())

    def record_transition(self, event: StateChanged) -> None:
        """The circuit has changed its state: log it, keep it, and tell listeners."""
        self._log(event)
        latest = sorted((*self._transitions, event), key=lambda each: each.term)  # arrival is not order
        self._transitions = tuple(latest[-_TRANSITIONS_KEPT:])
        self._services.emitter.emit(event)


    def _log(self, event: StateChanged) -> None:
        """One line per change; the refusals that follow log nothing."""
        level = logging.WARNING if event.new in (State.OPEN, State.FORCED_OPEN) else logging.INFO
        if not _logger.isEnabledFor(level):
            return
        failure = event.last_failure if event.trigger in _BLAMING else None
        last = "" if failure is None else f"; the last failure was {failure}"
        shadow = "; in shadow mode no call is refused" if "breaker" in self._settings.shadow else ""
        with contextlib.suppress(Exception):  # of a logging handler or filter
            _logger.log(level, "%r: the circuit went from %s to %s: %s%s%s", self._key, event.old, event.new,
                        event.reason, last, shadow, extra={"circuit": self._key})


def _note(command: weakref.ref[Command], event: StateChanged) -> None:
    known = command()
    if known is not None:
        known.record_transition(event)
