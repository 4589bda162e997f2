"""What each configuration is when nothing is said; users' code and the docs rely on these numbers."""

import attrs
import pytest

from resilience.core.adaptive import AdaptiveLimit
from resilience.core.batch import Collapse
from resilience.core.breaker import CircuitBreaker
from resilience.core.budget import RetryBudget
from resilience.core.bulkhead import Bulkhead
from resilience.core.cache import Cache
from resilience.core.chaos import Chaos
from resilience.core.failover import Failover
from resilience.core.failure_rules import FailureRules
from resilience.core.fallback import Fallback
from resilience.core.hedge import Hedge
from resilience.core.http_status import http_status
from resilience.core.rate_limit import RateLimit
from resilience.core.retry import Retry
from resilience.core.stream_timeout import StreamTimeout
from resilience.core.thread_pool import ThreadPool
from resilience.core.throttle import Throttle
from resilience.core.timeout import Timeout
from resilience.errors import ChaosError

DEFAULTS = [
    (AdaptiveLimit(), {
        "algorithm": "gradient", "initial": 20, "min_limit": 1, "max_limit": 1000, "tolerance": 1.5, "smoothing": 0.5,
        "window": 0.1, "min_calls": 20, "probe_every": 10.0, "loss_tolerance": 0.05, "slow_call": None, "count_failures": False,
        "priorities": None, "reserved": 0.1, "max_queue": 0, "max_queue_for": 0.1, "fair_by": None}),
    (Collapse(), {"window": 0.005, "max_batch": 100, "scope": "global", "key": None}),
    (CircuitBreaker(), {
        "failure_rate": 0.5, "consecutive": None, "sustained_failures": 5, "min_calls": 20, "window": 10.0, "buckets": 10,
        "window_calls": None, "open_for": 5.0, "open_growth": 1.0, "open_max": 300.0, "open_jitter": 0.0, "slow_call": None,
        "slow_rate": 1.0, "slow_in_flight": True, "half_open_calls": 1, "half_open_failures": 0, "half_open_for": 30.0,
        "ramp": 0.0, "ramp_shares": (0.1, 0.25, 0.5), "count_rejections": False}),
    (RetryBudget(), {"ratio": 0.2, "per_second": 10.0, "window": 10.0}),
    (Bulkhead(), {"max_concurrent": 10, "max_wait": 0.0, "max_queue": 1000, "fair_by": None}),
    (Cache(), {"ttl": 60.0, "max_size": 1024, "scope": "shared", "by": None, "cache_none": False, "cache_exceptions": (),
               "stale_if_error": 0.0, "refresh_ahead": 0.0, "copy": None}),
    (Chaos(), {"latency_rate": 0.0, "latency": 0.0, "error_rate": 0.0, "error": ChaosError, "result_rate": 0.0, "result": None}),
    (Failover(("a", "b")), {"targets": ("a", "b"), "argument": "target", "weights": None, "grace": 30.0, "max_wait": None,
                            "budget": RetryBudget()}),
    (Fallback(function=len), {"function": len, "on": (Exception,), "max_concurrent": 10}),
    (Hedge(idempotent=True), {
        "idempotent": True, "delay": None, "percentile": 95.0, "min_calls": 100, "attempts": 2, "budget": RetryBudget()}),
    (RateLimit(calls=1), {"calls": 1, "per": 1.0, "burst": None, "max_wait": 0.0, "by": None, "max_keys": 10000,
                           "adaptive": False, "cost": 1, "true_cost": None}),
    (Retry(), {
        "attempts": 3, "base": 0.1, "factor": 2.0, "max_delay": 10.0, "jitter": "full", "on": (Exception,), "unless": (),
        "on_result": None, "time_limit": None, "respect_retry_after": True, "retry_rejections": False,
        "budget": RetryBudget(), "busy_base": 1.0, "busy_max_delay": None, "price": 1.0, "busy_price": 1.0, "nested": "once",
        "hold": 0, "hold_bytes": 0, "hold_size": None}),
    (FailureRules(), {"judge": None, "exceptions": None, "results": None, "items": None, "status": None, "busy": (),
                      "caller_faults": (), "refused": (), "halts": False, "raise_failures": False}),
    (http_status(), {"failed": ("5xx",), "busy": (429,), "busy_when_asked": (503,), "caller_fault": ()}),
    (StreamTimeout(total=1.0), {"first_item": None, "between_items": None, "total": 1.0, "min_rate": None, "window": 10.0,
                                "progress": None}),
    (ThreadPool(), {"size": 10, "max_queue": 0}),
    (Throttle(), {"k": 2.0, "window": 120.0, "max_rejection_rate": 0.9, "min_calls": 10, "count_failures": True}),
    (Timeout(), {"timeout": 1.0}),
]


@pytest.mark.parametrize(("config", "settings"), DEFAULTS, ids=lambda value: type(value).__name__)
def test_what_is_not_said_is_as_documented(config, settings):
    assert settings == {field.name: getattr(config, field.name) for field in attrs.fields(type(config))}
