"""The metrics streams of Hystrix, field by field.

Field names, their order and their types are those of Hystrix 1.5
(SerialHystrixDashboardData, SerialHystrixConfiguration, SerialHystrixUtilization):
integers where it has integers, milliseconds where it has milliseconds, and its
idea of a request, which leaves out short-circuited and bad ones. So the Netflix
dashboard and Turbine read it unchanged. Differences that cannot be helped: an
unlimited semaphore is Java's largest int, no timeout is 0, and half-open counts
as open, as it does in Hystrix.

Most of a message never changes, so an Encoder keeps each command's message as a
template and fills in the numbers: a fifth of what json.dumps would take.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Final

from ..core.breaker import CircuitBreaker
from ..core.bulkhead import most_at_once
from ..core.events import State
from ..core.histogram import Latency
from .batch_statistics import BatchStatistics
from .protocols import Pool, Settings, Source, Sources
from .recorder import BUCKETS, LATENCY_SLICES, LATENCY_WINDOW_S, WINDOW_S
from .snapshot import Snapshot

_MAX_INT: Final = 2**31 - 1
_WINDOW_MS: Final = int(WINDOW_S * 1000)
_OPEN: Final = (State.OPEN, State.HALF_OPEN, State.FORCED_OPEN)

#: The rolling counts of a command message, in its order, and our names for them.
ROLLING_COUNTS: Final = {
    "BadRequests": "bad_request",
    "CollapsedRequests": "collapsed",
    "Emit": "emit",
    "ExceptionsThrown": "exceptions_thrown",
    "Failure": "failure",
    "FallbackEmit": "fallback_emit",
    "FallbackFailure": "fallback_failure",
    "FallbackMissing": "fallback_missing",
    "FallbackRejection": "fallback_rejection",
    "FallbackSuccess": "fallback_success",
    "ResponsesFromCache": "responses_from_cache",
    "SemaphoreRejected": "semaphore_rejected",
    "ShortCircuited": "short_circuited",
    "Success": "success",
    "ThreadPoolRejected": "thread_pool_rejected",
    "Timeout": "timeout",
}

_COUNTS_TEXT: Final = "".join(f'"rollingCount{name}":%d,' for name in ROLLING_COUNTS)
_counts: Final = itemgetter(*ROLLING_COUNTS.values())
_LATENCY_TEXT: Final = '{"0":%d,"25":%d,"50":%d,"75":%d,"90":%d,"95":%d,"99":%d,"99.5":%d,"100":%d}'


class Encoder:
    """Encodes the messages of one stream. Not thread-safe: one per ticker."""

    def __init__(self) -> None:
        self._templates: dict[str, tuple[Settings, State, str]] = {}

    def messages(self, registry: Sources, time_ms: int) -> Iterator[str]:
        """One tick of hystrix.stream: every command, every pool that has done anything, every collapser; JSON texts."""
        counts: dict[str, list[Snapshot]] = {}
        keys = set()
        for command in registry:
            snapshot = command.snapshot()
            keys.add(command.key)
            if command.settings.isolation == "thread":
                counts.setdefault(command.group, []).append(snapshot)
            yield self.command(command, snapshot, time_ms)
        for gone in self._templates.keys() - keys:
            del self._templates[gone]
        for name, pool in registry.pools().items():
            if pool.completed:
                yield pool_message(name, pool, counts.get(name, ()), time_ms)
        for collapses in registry.collapsers().values():
            yield collapser_message(collapses, registry.clock(), time_ms)

    def command(self, command: Source, snapshot: Snapshot, time_ms: int) -> str:
        """A HystrixCommand message."""
        settings, state = command.settings, snapshot.state
        known = self._templates.get(command.key)
        if known is None or known[0] is not settings or known[1] is not state:
            known = self._templates[command.key] = settings, state, _template(command, settings, state)
        c = snapshot.counts
        errors = c["failure"] + c["timeout"] + c["semaphore_rejected"] + c["thread_pool_rejected"]
        requests = errors + c["success"]
        latency = _latency_text(snapshot.latency)
        mean = snapshot.latency.mean * 1000
        return known[2] % (
            time_ms, errors * 100 // requests if requests else 0, errors, requests,
            *_counts(c),
            snapshot.in_flight, snapshot.max_in_flight,
            mean, latency, mean, latency,
        )


def _latency_text(latency: Latency) -> str:
    return _LATENCY_TEXT % (latency.p0 * 1e3, latency.p25 * 1e3, latency.p50 * 1e3, latency.p75 * 1e3,
                            latency.p90 * 1e3, latency.p95 * 1e3, latency.p99 * 1e3, latency.p995 * 1e3,
                            latency.p100 * 1e3)


def _template(command: Source, settings: Settings, state: State) -> str:
    head = {"type": "HystrixCommand", "name": command.key, "group": command.group}
    tail = {**_properties(settings, state), "reportingHosts": 1, "threadPool": command.group}
    return (
        json.dumps(head, separators=(",", ":")).replace("%", "%%")[:-1]
        + f',"currentTime":%d,"isCircuitBreakerOpen":{str(state in _OPEN).lower()},'
        '"errorPercentage":%d,"errorCount":%d,"requestCount":%d,'
        + _COUNTS_TEXT
        + '"currentConcurrentExecutionCount":%d,"rollingMaxConcurrentExecutionCount":%d,'
        '"latencyExecute_mean":%d,"latencyExecute":%s,"latencyTotal_mean":%d,"latencyTotal":%s,'
        + json.dumps(tail, separators=(",", ":")).replace("%", "%%")[1:]
    )


def _threshold(breaker: CircuitBreaker | None) -> int:
    """Percent of failed calls that open; 100 where failures are counted in a row, 0 without a breaker."""
    if breaker is None:
        return 0
    return 100 if breaker.failure_rate is None else round(breaker.failure_rate * 100)


def _semaphores(settings: Settings) -> int:
    return most_at_once(settings.max_concurrent) or _MAX_INT


def _properties(settings: Settings, state: State) -> dict[str, Any]:
    breaker = settings.breaker
    timeout_ms = int((settings.timeout or 0) * 1000)
    return {
        "propertyValue_circuitBreakerRequestVolumeThreshold": breaker.min_calls if breaker else 0,
        "propertyValue_circuitBreakerSleepWindowInMilliseconds": int(breaker.open_for * 1000) if breaker else 0,
        "propertyValue_circuitBreakerErrorThresholdPercentage": _threshold(breaker),
        "propertyValue_circuitBreakerForceOpen": state is State.FORCED_OPEN,
        "propertyValue_circuitBreakerForceClosed": state is State.FORCED_CLOSED,
        "propertyValue_circuitBreakerEnabled": state is not State.DISABLED,
        "propertyValue_executionIsolationStrategy": settings.isolation.upper(),
        "propertyValue_executionIsolationThreadTimeoutInMilliseconds": timeout_ms,
        "propertyValue_executionTimeoutInMilliseconds": timeout_ms,
        "propertyValue_executionIsolationThreadInterruptOnTimeout": False,  # a Python thread cannot be interrupted
        "propertyValue_executionIsolationThreadPoolKeyOverride": None,
        "propertyValue_executionIsolationSemaphoreMaxConcurrentRequests": _semaphores(settings),
        "propertyValue_fallbackIsolationSemaphoreMaxConcurrentRequests": settings.fallback_max_concurrent,
        "propertyValue_metricsRollingStatisticalWindowInMilliseconds": _WINDOW_MS,
        "propertyValue_requestCacheEnabled": settings.cache is not None,
        "propertyValue_requestLogEnabled": False,
    }


def pool_message(name: str, pool: Pool, commands: Iterable[Snapshot], time_ms: int) -> str:
    """A HystrixThreadPool message; *commands* are those that run on the pool."""
    ran = rejected = most = 0
    for snapshot in commands:
        c = snapshot.counts
        ran += c["success"] + c["failure"] + c["timeout"] + c["bad_request"]
        rejected += c["thread_pool_rejected"]
        most += snapshot.max_in_flight
    size, admitted, waiting = pool.size, pool.admitted, pool.waiting
    active = max(0, admitted - waiting)
    return json.dumps({
        "type": "HystrixThreadPool",
        "name": name,
        "currentTime": time_ms,
        "currentActiveCount": active,
        "currentCompletedTaskCount": pool.completed,
        "currentCorePoolSize": size,
        "currentLargestPoolSize": min(pool.largest, size),
        "currentMaximumPoolSize": size,
        "currentPoolSize": pool.threads,
        "currentQueueSize": waiting,
        "currentTaskCount": pool.completed + admitted,
        "rollingCountThreadsExecuted": ran,
        "rollingMaxActiveThreads": min(most, size),
        "rollingCountCommandRejections": rejected,
        "propertyValue_queueSizeRejectionThreshold": pool.max_queue,
        "propertyValue_metricsRollingStatisticalWindowInMilliseconds": _WINDOW_MS,
        "reportingHosts": 1,
    }, separators=(",", ":"))


_SIZES: Final = {"25": "p25", "50": "p50", "75": "p75", "90": "p90", "95": "p95", "99": "p99", "99.5": "p995",
                 "100": "p100"}


def collapser_message(collapses: BatchStatistics, now: float, time_ms: int) -> str:
    """A HystrixCollapser message; *now* is on the registry's clock."""
    read = collapses.read(now)
    return json.dumps({
        "type": "HystrixCollapser",
        "name": collapses.name,
        "currentTime": time_ms,
        "rollingCountRequestsBatched": read.items,
        "rollingCountBatches": read.batches,
        "rollingCountResponsesFromCache": read.shared,
        "batchSize_mean": round(read.sizes.mean),
        "batchSize": {name: round(getattr(read.sizes, ours)) for name, ours in _SIZES.items()},
        "propertyValue_requestCacheEnabled": True,  # equal calls share an answer
        "propertyValue_maxRequestsInBatch": collapses.max_batch,
        "propertyValue_timerDelayInMilliseconds": round(collapses.window * 1000),
        "reportingHosts": 1,
    }, separators=(",", ":"))


def config_message(registry: Sources) -> str:
    """The one message of a tick of config.stream."""
    return json.dumps({
        "type": "HystrixConfig",
        "commands": {command.key: _command_config(command, command.snapshot().state) for command in registry},
        "threadpools": {name: _pool_config(pool) for name, pool in registry.pools().items()},
        "collapsers": {name: _collapser_config(each) for name, each in registry.collapsers().items()},
    }, separators=(",", ":"))


def _command_config(command: Source, state: State) -> Mapping[str, Any]:
    settings, breaker = command.settings, command.settings.breaker
    return {
        "threadPoolKey": command.group,
        "groupKey": command.group,
        "execution": {
            "isolationStrategy": settings.isolation.upper(),
            "threadPoolKeyOverride": None,
            "requestCacheEnabled": settings.cache is not None,
            "requestLogEnabled": False,
            "timeoutEnabled": settings.timeout is not None,
            "fallbackEnabled": settings.has_fallback,
            "timeoutInMilliseconds": int((settings.timeout or 0) * 1000),
            "semaphoreSize": _semaphores(settings),
            "fallbackSemaphoreSize": settings.fallback_max_concurrent,
            "threadInterruptOnTimeout": False,
        },
        "metrics": {
            "healthBucketSizeInMs": int((breaker.window / breaker.buckets) * 1000) if breaker else 0,
            "percentileBucketSizeInMilliseconds": int(LATENCY_WINDOW_S / LATENCY_SLICES * 1000),
            "percentileBucketCount": LATENCY_SLICES,
            "percentileEnabled": True,
            "counterBucketSizeInMilliseconds": _WINDOW_MS // BUCKETS,
            "counterBucketCount": BUCKETS,
        },
        "circuitBreaker": {
            "enabled": state is not State.DISABLED,
            "isForcedOpen": state is State.FORCED_OPEN,
            "isForcedClosed": state is State.FORCED_CLOSED,
            "requestVolumeThreshold": breaker.min_calls if breaker else 0,
            "errorPercentageThreshold": _threshold(breaker),
            "sleepInMilliseconds": int(breaker.open_for * 1000) if breaker else 0,
        },
    }


def _pool_config(pool: Pool) -> Mapping[str, Any]:
    return {
        "coreSize": pool.size,
        "maximumSize": pool.size,
        "actualMaximumSize": pool.size,
        "maxQueueSize": pool.max_queue or -1,
        "queueRejectionThreshold": pool.max_queue,
        "keepAliveTimeInMinutes": 0,
        "allowMaximumSizeToDivergeFromCoreSize": False,
        "counterBucketSizeInMilliseconds": _WINDOW_MS // BUCKETS,
        "counterBucketCount": BUCKETS,
    }


def _collapser_config(collapses: BatchStatistics) -> Mapping[str, Any]:
    return {
        "maxRequestsInBatch": collapses.max_batch,
        "timerDelayInMilliseconds": round(collapses.window * 1000),
        "requestCacheEnabled": True,
        "metrics": {
            "percentileBucketSizeInMilliseconds": int(LATENCY_WINDOW_S / LATENCY_SLICES * 1000),
            "percentileBucketCount": LATENCY_SLICES,
            "percentileEnabled": True,
            "counterBucketSizeInMilliseconds": _WINDOW_MS // BUCKETS,
            "counterBucketCount": BUCKETS,
        },
    }


def utilization_message(registry: Sources) -> str:
    """The one message of a tick of utilization.stream."""
    return json.dumps({
        "type": "HystrixUtilization",
        "commands": {command.key: {"activeCount": command.snapshot().in_flight} for command in registry},
        "threadpools": {
            name: {
                "activeCount": max(0, pool.admitted - pool.waiting),
                "queueSize": pool.waiting,
                "corePoolSize": pool.size,
                "poolSize": pool.threads,
            }
            for name, pool in registry.pools().items()
        },
    }, separators=(",", ":"))
