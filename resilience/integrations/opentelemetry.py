"""OpenTelemetry: metrics that are read when they are collected, and events on the span of a call.

    export_metrics()
    add_span_events()

**Metrics.** Every instrument is observable: the SDK asks for its value when it collects, and gets what the commands
have counted anyway, so a call pays nothing. OpenTelemetry has no observable histogram; what there is instead are
percentiles of the last minute, and the sum of all durations, whose rate over the rate of calls is their mean. Counters
never fall.

**Span events.** A listener adds what happens to a call to the span that is current in its context, on worker threads
too. It costs one look at the span if that is not recording. Names and attributes follow OpenTelemetry's rules: dots
between words, units in seconds, ``error.type`` as its semantic conventions have it. Messages of exceptions are left
out, for what they hold nobody knows.

Needs ``opentelemetry-api``. Without an SDK both do nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider

from .._version import __version__
from ..commands.command import Command
from ..core.events import (
    CallFailed,
    CallFailedOver,
    CallFellBack,
    CallHedged,
    CallRejected,
    CallRetried,
    State,
    StateChanged,
)
from ..drivers.workers import WorkerPool
from ..metrics.exports import as_utf8, events_of
from ..metrics.protocols import check_registry
from ..registry import Registry, default_registry

__all__ = ["add_span_events", "export_metrics"]

_Reading = Iterable[tuple[float, dict[str, Any]]]
_PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p100": 1.0}


class _Instrument(NamedTuple):
    """One row of the table of metrics; *kind* is the end of the name of the Meter's method."""

    name: str
    kind: str
    unit: str
    description: str
    read: Callable[[Any], _Reading]  # value, and attributes beside those of the command or pool


def _events(command: Command) -> _Reading:
    totals, _ = command.__recorder__.totals()
    return [(total, {"resilience.event": event}) for event, total in events_of(command, totals).items()]


def _latency(command: Command) -> _Reading:
    latency = command.snapshot().latency
    return [(getattr(latency, name), {"resilience.quantile": quantile}) for name, quantile in _PERCENTILES.items()]


def _state(command: Command) -> _Reading:
    now = command.state
    return [(int(state is now), {"resilience.state": state.value}) for state in State]


def _limit(command: Command) -> _Reading:
    limit = command.snapshot().max_concurrent
    return [] if limit is None else [(limit, {})]


def _gauges(command: Command) -> _Reading:
    gauges = command.snapshot().gauges
    return [(value, {"resilience.gauge": as_utf8(name)}) for name, value in gauges.items()]


_COMMAND: Final = (
    _Instrument("resilience.command.events", "counter", "{call}", "Calls by how they ended.", _events),
    _Instrument("resilience.command.duration", "counter", "s", "Sum of the durations of all calls that ran.",
                lambda command: [(command.__recorder__.totals()[1].seconds, {})]),
    _Instrument("resilience.command.latency", "gauge", "s", "Percentiles of the last minute's durations.", _latency),
    _Instrument("resilience.command.in_flight", "up_down_counter", "{call}",
                "Calls running now, abandoned ones included.", lambda command: [(command.in_flight, {})]),
    _Instrument("resilience.command.max_concurrent", "gauge", "{call}", "How many calls may run at once now.", _limit),
    _Instrument("resilience.command.abandoned", "up_down_counter", "{call}",
                "Calls that run on although their caller gave up.",
                lambda command: [(command.snapshot().abandoned, {})]),
    _Instrument("resilience.circuit.state", "gauge", "1", "1 for the state the circuit is in.", _state),
    _Instrument("resilience.policy.value", "gauge", "1", "What policies show of themselves.", _gauges),
)
_POOL: Final = (
    _Instrument("resilience.pool.threads", "up_down_counter", "{thread}", "Threads alive.",
                lambda pool: [(pool.threads, {})]),
    _Instrument("resilience.pool.jobs", "up_down_counter", "{call}", "Calls that run on it, or wait for a thread.",
                lambda pool: [(pool.admitted, {})]),
    _Instrument("resilience.pool.max_jobs", "gauge", "{call}", "How many calls may run and wait at once.",
                lambda pool: [(pool.size + pool.max_queue, {})]),
    _Instrument("resilience.pool.completed", "counter", "{call}", "Calls that have ended on the pool.",
                lambda pool: [(pool.completed, {})]),
)


def export_metrics(*registries: Registry, meter_provider: MeterProvider | None = None) -> None:
    """Let OpenTelemetry read the commands and pools of *registries* whenever it collects.

    To be called once in a process, with all of its registries: OpenTelemetry keeps the first instrument of a name.

    Args:
        *registries: Their commands are read at each collection, those added later too; none: default_registry. Keys
            should differ between them.
        meter_provider: Whose meter makes the instruments; None: the global one.

    Raises:
        TypeError: One of the *registries* is none.
    """
    those = registries or (default_registry,)
    for registry in those:
        check_registry(registry)
    meter = (meter_provider or get_meter_provider()).get_meter("resilience", __version__)
    for instruments, sources in ((_COMMAND, _commands), (_POOL, _pools)):
        for instrument in instruments:
            create = getattr(meter, f"create_observable_{instrument.kind}")
            create(instrument.name, callbacks=[_callback(instrument, sources, those)], unit=instrument.unit,
                   description=instrument.description)


def _commands(registry: Registry) -> Iterator[tuple[Command, dict[str, Any]]]:
    for command in registry:
        yield command, _attributes_of(command.key, command.group)


def _pools(registry: Registry) -> Iterator[tuple[WorkerPool, dict[str, Any]]]:
    for name, pool in registry.pools().items():
        yield pool, {"resilience.pool": as_utf8(name)}


def _callback(instrument: _Instrument, sources: Callable[[Registry], Iterator[tuple[Any, dict[str, Any]]]],
              registries: tuple[Registry, ...]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    totals = _Totals() if instrument.kind == "counter" else None

    def observation(source: Any, value: float, attributes: dict[str, Any]) -> Observation:
        return Observation(value if totals is None else totals.continued(source, value, attributes), attributes)

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [observation(source, value, {**attributes, **more}) for registry in registries
                for source, attributes in sources(registry) for value, more in instrument.read(source)]

    return observe


class _Totals:
    """Counters that only rise, as OpenTelemetry takes them to: a command that has gone and comes back begins at 0.

    Where differences are exported ("delta"), that would be a difference below 0. The SDK keeps each series, too.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[Any, ...], tuple[weakref.ref[Any], float, float]] = {}  # of whom, before it, by it

    def continued(self, source: Any, value: float, attributes: dict[str, Any]) -> float:
        """The *value* of *source*, and what was told of those who had the same *attributes* before it."""
        series = tuple(attributes.values())
        told = self._told.get(series)
        before = 0 if told is None else told[1] if told[0]() is source else told[1] + told[2]
        self._told[series] = weakref.ref(source), before, value
        return before + value


def _attributes_of(key: str, group: str) -> dict[str, Any]:
    return {"resilience.command": as_utf8(key), "resilience.group": as_utf8(group)}


def _error(error: BaseException | None) -> dict[str, Any]:
    return {} if error is None else {"error.type": type(error).__qualname__}


#: Name of the span event, and its attributes beside those of the command, for each class of event.
_SPAN_EVENTS: Final[dict[type, tuple[str, Callable[[Any], dict[str, Any]]]]] = {
    StateChanged: ("resilience.circuit.state_changed", lambda event: {
        "resilience.state.old": event.old.value, "resilience.state.new": event.new.value,
        "resilience.trigger": event.trigger.value, "resilience.reason": as_utf8(event.reason)}),
    CallRejected: ("resilience.call.rejected", lambda event: {
        "resilience.event": event.event, **_error(event.error)}),
    CallFailed: ("resilience.call.failed", lambda event: {
        "resilience.event": event.event, "resilience.duration": event.duration, **_error(event.error)}),
    CallRetried: ("resilience.call.retried", lambda event: {
        "resilience.event": event.event, "resilience.attempt": event.attempt, "resilience.delay": event.delay,
        **_error(event.error)}),
    CallHedged: ("resilience.call.hedged", lambda event: {
        "resilience.attempt": event.attempt, "resilience.after": event.after}),
    CallFailedOver: ("resilience.call.failed_over", lambda event: {
        "resilience.event": event.event, "resilience.command.next": as_utf8(event.next_key), **_error(event.error)}),
    CallFellBack: ("resilience.call.fell_back", lambda event: {"resilience.event": event.event}),
}


def add_span_events(registry: Registry = default_registry) -> Callable[[], None]:
    """Add what happens to the calls of *registry* to the spans that they are made in.

    State changes, rejections, failures, retries, hedges, failovers and fallbacks become events of the current span.

    Args:
        registry: Whose calls.

    Returns:
        A function that ends this.

    Raises:
        TypeError: *registry* is none.
    """
    check_registry(registry)
    ends = [registry.subscribe(kind, _span_listener(*row)) for kind, row in _SPAN_EVENTS.items()]

    def end() -> None:
        for each in ends:
            each()

    return end


def _span_listener(name: str, attributes: Callable[[Any], dict[str, Any]]) -> Callable[[Any], None]:
    def listen(event: Any) -> None:
        span = trace.get_current_span()
        if span.is_recording():
            span.add_event(name, {**_attributes_of(event.key, event.group), **attributes(event)})

    return listen
