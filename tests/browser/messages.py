"""What the browser tests share: messages as the streams send them, with only what a test cares about spelled out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

Message = dict[str, Any]
OpenPage = Callable[..., Page]  # conftest's fixture `open_page`

EVENTS = (
    "success", "failure", "timeout", "short_circuited", "semaphore_rejected", "thread_pool_rejected", "bad_request",
    "fallback_success", "fallback_failure", "fallback_rejection", "fallback_missing", "exceptions_thrown", "cancelled",
    "responses_from_cache", "collapsed", "emit", "fallback_emit", "throttled", "rate_limited", "no_time_left",
    "stale_responses", "shadow_rejected",
)  # fmt: skip
REFUSALS = ("short_circuited", "semaphore_rejected", "thread_pool_rejected", "throttled", "rate_limited", "no_time_left")


def resilience(key: str, *, rate: float = 10.0, latency: float = 0.010, counts: Any = None, **changes: Any) -> Message:
    """A ResilienceCommand message of a 10-s window; errors follow from `error_rate`, or from `counts`."""
    requests = round(rate * 10)
    error_rate = changes.pop("error_rate", 0.0)
    given = counts or {"success": requests - round(requests * error_rate), "failure": round(requests * error_rate)}
    refused = sum(given.get(name, 0) for name in REFUSALS)
    errors = refused + given.get("failure", 0) + given.get("timeout", 0)
    percentiles = {"mean": 1.0, "p0": 0.3, "p25": 0.7, "p50": 0.9, "p75": 1.2, "p90": 1.6, "p95": 2.0, "p99": 3.1}
    return {
        "type": "ResilienceCommand",
        "key": key,
        "group": "shop",
        "instance": "host-a:1",
        "time_ms": 1_700_000_000_000,
        "state": "closed",
        "retry_after_s": None,
        "window_s": 10.0,
        "requests": requests,
        "errors": errors,
        "error_rate": errors / requests if requests else 0.0,
        "rate": rate,
        "refused": refused,
        "counts": {name: given.get(name, 0) for name in EVENTS},
        "latency_s": {name: latency * factor for name, factor in {**percentiles, "p995": 4.2, "p100": 6.0}.items()},
        "in_flight": 2,
        "max_in_flight": 5,
        "max_concurrent": 20,
        "abandoned": 0,
        "timeout_s": 0.5,
        "isolation": "semaphore",
        "transitions": [],
        **changes,
    }


def hystrix(name: str, *, requests: int = 100, errors: int = 0, hosts: int = 1, **changes: Any) -> Message:
    """A HystrixCommand message with the keys that the original page requires; Turbine's if `hosts` > 1."""
    counts = {
        f"rollingCount{event}": 0
        for event in (
            "BadRequests", "CollapsedRequests", "Emit", "ExceptionsThrown", "FallbackEmit", "FallbackFailure",
            "FallbackMissing", "FallbackRejection", "FallbackSuccess", "ResponsesFromCache", "SemaphoreRejected",
            "ShortCircuited", "ThreadPoolRejected", "Timeout",
        )
    }  # fmt: skip
    latencies = {"0": 1, "25": 5, "50": 10, "75": 20, "90": 40, "95": 60, "99": 90, "99.5": 120, "100": 200}
    return {
        "type": "HystrixCommand",
        "name": name,
        "group": "legacy",
        "currentTime": 1_700_000_000_000,
        "isCircuitBreakerOpen": False,
        "errorPercentage": (100 * errors // requests if requests else 0) * hosts,
        "errorCount": errors,
        "requestCount": requests,
        **counts,
        "rollingCountFailure": errors,
        "rollingCountSuccess": requests - errors,
        "currentConcurrentExecutionCount": 3,
        "rollingMaxConcurrentExecutionCount": 7,
        "latencyExecute_mean": 15 * hosts,
        "latencyExecute": {percentile: value * hosts for percentile, value in latencies.items()},
        "propertyValue_circuitBreakerRequestVolumeThreshold": 20,
        "propertyValue_circuitBreakerSleepWindowInMilliseconds": 5000,
        "propertyValue_circuitBreakerErrorThresholdPercentage": 50,
        "propertyValue_circuitBreakerForceOpen": False,
        "propertyValue_circuitBreakerForceClosed": False,
        "propertyValue_circuitBreakerEnabled": True,
        "propertyValue_executionIsolationStrategy": "THREAD",
        "propertyValue_executionIsolationThreadTimeoutInMilliseconds": 1000,
        "propertyValue_executionIsolationThreadInterruptOnTimeout": True,
        "propertyValue_executionIsolationSemaphoreMaxConcurrentRequests": 10,
        "propertyValue_fallbackIsolationSemaphoreMaxConcurrentRequests": 10,
        "propertyValue_metricsRollingStatisticalWindowInMilliseconds": 10_000,
        "propertyValue_requestCacheEnabled": True,
        "propertyValue_requestLogEnabled": True,
        "reportingHosts": hosts,
        **changes,
    }
