"""Calls that a throttle, a rate limit or a deadline refused were neither requests nor errors, nor seen on the dashboard."""

import contextlib
import json

import pytest

from resilience import RateLimit, Registry, RejectedError, Throttle, command, deadline
from resilience.metrics.stream import Encoder
from resilience.testing import ManualClock


@pytest.mark.parametrize(("event", "settings", "seconds"), [
    ("rate_limited", {"rate_limit": RateLimit(1, per=60.0)}, None),
    ("no_time_left", {}, 0.0),
    ("throttled", {"throttle": Throttle(min_calls=1, k=1.0)}, None),
])
def test_whatever_refuses_a_call_it_is_a_request_and_an_error(event, settings, seconds):
    clock = ManualClock()
    registry = Registry(clock=clock, random=lambda: 0.0)

    @command(key="k", registry=registry, timeout=None, breaker=None, **settings)
    def work():
        raise OSError

    for _ in range(8):
        with contextlib.suppress(OSError, RejectedError), deadline(seconds, clock=clock):
            work()

    snapshot = work.resilience.snapshot()
    refused = snapshot.counts[event]
    assert refused > 0
    assert (8, 8, refused) == (snapshot.requests, snapshot.errors, snapshot.refused)
    [message] = map(json.loads, Encoder().messages(registry, 0))
    assert (8, 8, refused) == (message["requests"], message["errors"], message["refused"])
