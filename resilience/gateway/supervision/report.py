"""Report: what one worker knows of its commands, as plain values that can be sent and summed up.

Counts, and the bins of histograms, add up exactly; percentiles do not, so none are sent. Moments are sent as ages:
another process's clock may begin elsewhere. A report is made in slices of a quarter of a millisecond, between which
the event loop serves requests: a request takes four turns of the loop, and waits for a slice in each, however many
commands there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final, TypeVar

from prometheus_client import Metric

from ...commands.command import Command
from ...core.bulkhead import most_at_once
from ...metrics.protocols import Settings
from ...metrics.snapshot import Snapshot

T = TypeVar("T")

SLICE_S: Final = 0.00025
#: Of a command; see rolling() and lifetime().
Report = dict[str, Any]


async def in_slices(them: Iterable[T], of: Callable[[T], Any]) -> AsyncIterator[list[Any]]:
    """The report of each of *them*, some at a time.

    Args:
        them: The commands of a registry, or its further metrics.
        of: Makes the report of one.
    """
    now = asyncio.get_running_loop().time
    some: list[Any] = []
    until = now() + SLICE_S
    for each in them:
        some.append(of(each))
        if now() >= until:
            yield some
            some = []
            await asyncio.sleep(0)
            until = now() + SLICE_S
    yield some


def rolling(command: Command) -> Report:
    """What a command shows of its rolling windows and of this moment."""
    snapshot = command.snapshot()
    bins = command.__recorder__.bins(snapshot.at) if snapshot.latency.count else {}
    return {
        **_named(command),
        "settings": _settings(command.settings),
        "counts": dict(snapshot.counts),
        "custom_rejections": list(snapshot.custom_rejections),
        "bins": bins,
        "seconds": snapshot.latency.mean * snapshot.latency.count,
        "in_flight": snapshot.in_flight,
        "max_in_flight": snapshot.max_in_flight,
        "max_concurrent": snapshot.max_concurrent,
        "abandoned": snapshot.abandoned,
        "gauges": dict(snapshot.gauges),
        "is_sum": command.__recorder__.is_sum,
        **_circuit(snapshot),
    }


def lifetime(command: Command) -> Report:
    """The same, and what a command has counted since it was made."""
    totals, durations = command.__recorder__.totals()
    return {**rolling(command), "own_events": list(command.__recorder__.own_events), "totals": totals,
            "buckets": durations.buckets, "lifetime_s": durations.seconds}


def recent(command: Command) -> Report:
    """The same as rolling(), and what a command did in the last minutes."""
    past = command.__recorder__.past(command.snapshot().at)
    return {**rolling(command), "past": (past.requests, past.errors, past.age)}


def family(metric: Metric) -> tuple[str, str, str, list[Any]]:
    """A family of metrics as plain values; MergedMetrics makes one of them again."""
    return (metric.name, metric.documentation, metric.type,
            [(sample.name, dict(sample.labels), float(sample.value)) for sample in metric.samples])


#: By the name under which a supervisor asks for it.
KINDS: Final[dict[str, Callable[[Command], Report]]] = {"rolling": rolling, "lifetime": lifetime, "recent": recent}


def _named(command: Command) -> Report:
    return {"key": command.key, "group": command.group}


def _settings(settings: Settings) -> Report:
    breaker = settings.breaker
    return {
        "timeout": settings.timeout,
        "max_concurrent": most_at_once(settings.max_concurrent),
        "isolation": settings.isolation,
        "cache": True if settings.cache is not None else None,
        "fallback_max_concurrent": settings.fallback_max_concurrent,
        "has_fallback": settings.has_fallback,
        "shadow": settings.shadow,
        "breaker": None if breaker is None else (
            breaker.failure_rate, breaker.min_calls, breaker.open_for, breaker.window, breaker.buckets),
    }


def _circuit(snapshot: Snapshot) -> Report:
    at, failure = snapshot.at, snapshot.last_failure
    return {
        "state": snapshot.state.value,
        "retry_after": snapshot.retry_after,
        "state_since": _age(snapshot.state_since, at),
        "opened_at": _age(snapshot.opened_at, at),
        "reason": snapshot.reason,
        "last_failure": None if failure is None else (failure.type, failure.message, at - failure.at, failure.count),
        "transitions": [(event.old.value, event.new.value, event.trigger.value, event.term, at - event.at, event.reason)
                        for event in snapshot.transitions],
    }


def _age(then: float | None, now: float) -> float | None:
    return None if then is None else now - then
