"""Command: the handle to look at a command, and to steer it.

Functions with the same key share one command: breaker, bulkhead, timeout and
statistics. What each says about it must agree; what one leaves out (a stack
that has no timeout, say) another may add.

The handle has what docs/reference/command.md says, and no more; a test compares the
two. What works on a command from inside the library asks internals_of() for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..core.circuit_checkpoint import check_elapsed, checkpoint_of
from ..core.events import State, Trigger
from ..core.outcome import EVENT_NAMES
from ..drivers.workers import WorkerPool
from ..engine.command_runtime import CommandRuntime
from ..engine.registry_services import RegistryServices
from ..errors import ConfigError, LastFailure
from ..metrics.recorder import LATENCY_WINDOW_S, WINDOW_S, Recorder
from ..metrics.snapshot import Snapshot
from ..policies.settings import Settings
from .internals import CommandInternals
from .live_changes import live_changes, takes


class Command:
    """One command of a registry. Every method may be called from any thread.

    Made by decorating a function; the function's ``resilience`` attribute is it.
    """

    __slots__ = ("__weakref__", "_internals")

    def __init__(self, key: str, group: str, services: RegistryServices, templates: tuple[str, ...] = (),
                 derived_from: str | None = None) -> None:
        self._internals = CommandInternals(key, group, services, templates, derived_from)

    def __repr__(self) -> str:
        slots = self._runtime.slots
        running = "" if slots.limit is None else f", {slots.in_flight} of {slots.limit} in flight"
        return f"<command {self.key!r} {self.state}{running}>"

    @property
    def _runtime(self) -> CommandRuntime:
        """Its machines."""
        return self._internals.runtime

    @property
    def __recorder__(self) -> Recorder:
        """Its statistics, for exporters; see metrics.protocols."""
        return self._internals.runtime.recorder

    # -- look

    @property
    def key(self) -> str:
        """What the command is known by, unique in its registry."""
        return self._runtime.key

    @property
    def group(self) -> str:
        """Commands of one group share a dashboard section and a thread pool."""
        return self._runtime.group

    @property
    def state(self) -> State:
        """What its circuit does with calls now; "disabled" without a breaker."""
        return self._internals.state

    @property
    def settings(self) -> Settings:
        """What is in force now."""
        return self._internals.settings

    @property
    def in_flight(self) -> int:
        """Calls that hold a slot now, abandoned ones included; 0 without a bulkhead."""
        return self._runtime.slots.in_flight

    @property
    def cached(self) -> int:
        """Answers that its caches hold for all callers, some of them expired perhaps; 0 without a cache."""
        return 0 if self._runtime.named("cache") is None else len(self._runtime.named("cache"))

    @property
    def pool(self) -> WorkerPool | None:
        """The threads that its isolated calls run on; None: its calls run where their callers are."""
        return self._internals.pool

    def snapshot(self) -> Snapshot:
        """The command at this moment; costs some 20 us, and calls nothing."""
        runtime = self._runtime
        now = runtime.clock()
        reading = runtime.recorder.read(now)
        circuit, own = runtime.circuit, runtime.recorder.own_events
        failure, term = runtime.failures.last, None if circuit is None else circuit.term
        counts = dict(zip(EVENT_NAMES, reading.counts, strict=False))
        for name, number in own:
            counts[name] = reading.counts[number] if number < len(reading.counts) else 0
        return Snapshot(
            key=runtime.key,
            group=runtime.group,
            at=now,
            state=self.state,
            retry_after=None if circuit is None else circuit.retry_after(now),
            counts=counts,
            custom_rejections=tuple(name for name, _ in own),
            gauges=runtime.gauges(),
            window=WINDOW_S,
            latency=reading.latency,
            latency_window=LATENCY_WINDOW_S,
            in_flight=runtime.slots.in_flight,
            max_in_flight=reading.max_in_flight,
            max_concurrent=runtime.slots.limit,
            abandoned=0 if runtime.isolation is None else runtime.isolation.abandoned,
            transitions=self._internals.history.latest,
            state_since=None if term is None else term.since,
            opened_at=None if circuit is None else circuit.opened_at,
            reason=None if term is None or term.standing is None else term.standing[2],
            last_failure=None if failure is None else LastFailure(*failure),
        )

    # -- steer

    def force_open(self) -> None:
        """Refuse every call until release() or reset()."""
        self._internals.steer(Trigger.FORCED_OPEN)

    def force_closed(self) -> None:
        """Let every call pass, whatever its result, until release() or reset()."""
        self._internals.steer(Trigger.FORCED_CLOSED)

    def release(self) -> None:
        """End what force_open() or force_closed() began; the circuit decides for itself again."""
        self._internals.steer(Trigger.RELEASED)

    def reset(self) -> None:
        """Close the circuit, empty the rolling statistics, and end the rest of a failover's target."""
        self._runtime.recorder.clear()
        self._runtime.failures.clear()
        if self._runtime.circuit is not None:
            self._runtime.circuit.steer(Trigger.RESET, self._runtime.clock())
        failover = self._runtime.named("failover")
        if failover is not None:
            failover.rest.clear()

    def clear_cache(self) -> None:
        """Forget all answers; what is being executed now will not be kept.

        Raises:
            ConfigError: The command has no cache.
        """
        if self._runtime.named("cache") is None:
            raise ConfigError(f"{self.key} has no cache to clear", "cache")
        self._runtime.named("cache").clear()

    def save(self) -> dict[str, Any]:
        """Its circuit's state as plain numbers and words, fit for JSON; restore() takes it after a restart.

        Raises:
            ConfigError: The command has no breaker.
        """
        if self._runtime.circuit is None:
            raise ConfigError(f"{self.key} has no breaker to save", "breaker")
        return attrs.asdict(self._runtime.circuit.save(self._runtime.clock()))

    def restore(self, saved: Mapping[str, Any], *, elapsed: float = 0.0) -> None:
        """Go on where a command was that was saved; one whose circuit has changed already since it was made does not.

        Args:
            saved: From save().
            elapsed: Seconds gone by since, on the wall clock; less than 0, of a clock that was set back, is 0.

        Raises:
            ConfigError: *saved* is not what save() returns, or the command has no breaker.
        """
        if self._runtime.circuit is None:
            raise ConfigError(f"{self.key} has no breaker to restore", "breaker")
        check_elapsed(elapsed)
        self._runtime.circuit.restore(checkpoint_of(self.key, saved), max(0.0, elapsed), self._runtime.clock())

    @takes(live_changes)
    def configure(self, **changes: Any) -> None:
        """Change settings while calls go on; statistics and state stay. All of them, or none.

        Args:
            **changes: Any of ``timeout`` (seconds or None), ``max_concurrent`` (a number, a Bulkhead or None),
                ``breaker`` (a CircuitBreaker; None disables it), ``cache`` (but for its ``by``), ``retry``,
                ``failover`` (but for its targets), ``throttle``, ``rate_limit``, ``adaptive_limit``,
                ``stream_timeout``, ``hedge``, ``failures``, ``chaos``, policies of your own by their names, and
                ``shadow`` (names of policies, True or False). Calls under way keep their timeout.

        Raises:
            ConfigError: A value is out of range, or the command has no such policy to change.
        """
        self._internals.configure(**changes)


def internals_of(command: Command) -> CommandInternals:
    """What stands behind the handle of a *command*; for the library itself."""
    return command._internals
