"""A breaker that counts failures in a row has no failure_rate; encoding its threshold for Hystrix raised."""

import json

from resilience import CircuitBreaker, command
from resilience.metrics.hystrix import Encoder, config_message


def test_a_breaker_without_a_rate_is_shown_with_a_hundred_percent(registry):
    @command(registry=registry, timeout=None, breaker=CircuitBreaker(consecutive=3, failure_rate=None))
    def guarded():
        pass

    (message,) = [json.loads(text) for text in Encoder().messages(registry, 0)]

    assert 100 == message["propertyValue_circuitBreakerErrorThresholdPercentage"]
    assert '"errorPercentageThreshold":100' in config_message(registry).replace(" ", "")
