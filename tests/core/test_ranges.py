"""Which numbers each configuration takes, bounds included, and which of its settings it takes without a name."""

import attrs
import pytest

from resilience.core.adaptive import AdaptiveLimit
from resilience.core.batch import Collapse
from resilience.core.breaker import CircuitBreaker
from resilience.core.budget import RetryBudget
from resilience.core.bulkhead import Bulkhead
from resilience.core.cache import Cache
from resilience.core.chaos import Chaos
from resilience.core.checks import NumberCheck
from resilience.core.circuit_checkpoint import CircuitCheckpoint
from resilience.core.failover import Failover
from resilience.core.fallback import Fallback
from resilience.core.hedge import Hedge
from resilience.core.rate_limit import RateLimit
from resilience.core.retry import Retry
from resilience.core.stream_timeout import StreamTimeout
from resilience.core.thread_pool import ThreadPool
from resilience.core.throttle import Throttle
from resilience.core.timeout import Timeout

RANGES = [
    (AdaptiveLimit, [], {
        "initial": "a whole number at least 1 and at most 1000000",
        "min_limit": "a whole number at least 1 and at most 1000000",
        "max_limit": "a whole number at least 1 and at most 1000000", "tolerance": "a number above 1 and at most 100",
        "smoothing": "a number above 0 and at most 1", "window": "a number at least 0.001 and at most 3600",
        "min_calls": "a whole number at least 1 and at most 100", "probe_every": "a number above 0",
        "loss_tolerance": "a number at least 0 and at most 0.99", "slow_call": "a number above 0 or None",
        "reserved": "a number at least 0 and at most 0.99",
        "max_queue": "a whole number at least 0 and at most 1000000", "max_queue_for": "a number above 0"}),
    (Collapse, [], {
        "window": "a number at least 0 and at most 60", "max_batch": "a whole number at least 1 and at most 100000"}),
    (CircuitBreaker, [], {
        "failure_rate": "a number above 0 and at most 1 or None",
        "consecutive": "a whole number at least 1 and at most 1000000 or None",
        "sustained_failures": "a whole number at least 2 and at most 1000000 or None",
        "min_calls": "a whole number at least 1 and at most 1000000", "window": "a number at least 0.001",
        "buckets": "a whole number at least 1 and at most 1000",
        "window_calls": "a whole number at least 1 and at most 1000000 or None", "open_for": "a number above 0",
        "open_growth": "a number at least 1", "open_max": "a number above 0",
        "open_jitter": "a number at least 0 and at most 1", "slow_call": "a number above 0 or None",
        "slow_rate": "a number above 0 and at most 1",
        "half_open_calls": "a whole number at least 1 and at most 1000000",
        "half_open_failures": "a whole number at least 0 and at most 1000000", "half_open_for": "a number above 0",
        "ramp": "a number at least 0"}),
    (RetryBudget, [], {
        "ratio": "a number at least 0 and at most 1", "per_second": "a number at least 0 and at most 1000000",
        "window": "a number at least 0.1 and at most 3600"}),
    (Bulkhead, ["max_concurrent"], {
        "max_concurrent": "a whole number at least 1 and at most 1000000 or None",
        "max_wait": "a number at least 0 and at most 86400",
        "max_queue": "a whole number at least 1 and at most 1000000"}),
    (Cache, [], {
        "ttl": "a number above 0 and at most 31536000 or None",
        "max_size": "a whole number at least 1 and at most 10000000",
        "stale_if_error": "a number at least 0 and at most 31536000",
        "refresh_ahead": "a number at least 0 and at most 31536000"}),
    (Chaos, [], {
        "latency_rate": "a number at least 0 and at most 1", "latency": "a number at least 0 and at most 3600",
        "error_rate": "a number at least 0 and at most 1", "result_rate": "a number at least 0 and at most 1"}),
    (Failover, ["targets"], {
        "grace": "a number above 0 and at most 86400", "max_wait": "a number at least 0 and at most 86400 or None"}),
    (Fallback, ["function"], {
        "max_concurrent": "a whole number at least 1 and at most 1000000"}),
    (Hedge, [], {
        "delay": "a number above 0 and at most 3600 or None", "percentile": "a number at least 1 and at most 99.99",
        "min_calls": "a whole number at least 1 and at most 1000000",
        "attempts": "a whole number at least 2 and at most 10"}),
    (RateLimit, ["calls"], {
        "calls": "a whole number at least 1 and at most 1000000000",
        "per": "a number at least 0.001 and at most 86400",
        "burst": "a whole number at least 1 and at most 1000000000 or None",
        "max_wait": "a number at least 0 and at most 86400",
        "max_keys": "a whole number at least 1 and at most 1000000"}),
    (Retry, [], {
        "attempts": "a whole number at least 2 and at most 1000", "base": "a number at least 0 and at most 3600",
        "factor": "a number at least 1 and at most 1000", "max_delay": "a number above 0 and at most 86400",
        "time_limit": "a number above 0 and at most 86400 or None", "busy_base": "a number at least 0 and at most 3600",
        "busy_max_delay": "a number above 0 and at most 86400 or None", "price": "a number at least 0 and at most 100",
        "busy_price": "a number at least 0 and at most 100",
        "hold": "a whole number at least 0 and at most 100000",
        "hold_bytes": "a whole number at least 0 and at most 1073741824"}),
    (StreamTimeout, [], {
        "first_item": "a number above 0 and at most 86400 or None",
        "between_items": "a number above 0 and at most 86400 or None",
        "total": "a number above 0 and at most 86400 or None",
        "min_rate": "a number above 0 and at most 1e+12 or None",
        "window": "a number above 0 and at most 86400"}),
    (ThreadPool, ["size"], {
        "size": "a whole number at least 1 and at most 10000",
        "max_queue": "a whole number at least 0 and at most 1000000"}),
    (Throttle, [], {
        "k": "a number at least 1 and at most 1000", "window": "a number at least 0.1",
        "max_rejection_rate": "a number above 0 and at most 0.999",
        "min_calls": "a whole number at least 1 and at most 1000000"}),
    (Timeout, ["timeout"], {
        "timeout": "a number above 0 and at most 86400 or None"}),
    (CircuitCheckpoint, [], {
        "remaining": "a number at least 0", "openings": "a whole number at least 0"}),
]


@pytest.mark.parametrize(("kind", "unnamed", "ranges"), RANGES, ids=lambda value: getattr(value, "__name__", ""))
def test_the_numbers_that_are_accepted_and_the_settings_without_a_name_are_as_documented(kind, unnamed, ranges):
    fields = attrs.fields(kind)
    found = {field.name: field.validator.wanted + " or None" * field.validator.optional
             for field in fields if isinstance(field.validator, NumberCheck)}

    assert ranges == found
    assert unnamed == [field.name for field in fields if not field.kw_only]
