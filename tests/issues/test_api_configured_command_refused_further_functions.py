"""After configure(), a function that said what the others had said no longer agreed with the command.

A module imported late, or Pipeline.call with another function, failed with a ConfigError.
"""

import pytest

from resilience import CircuitBreaker, ConfigError, Pipeline, Timeout, command


def test_functions_agree_with_what_functions_said_and_the_live_value_stays(registry):
    settings = {"key": "k", "registry": registry, "timeout": 0.5}
    command(**settings)(len)
    registry["k"].configure(timeout=0.3, breaker=None)

    command(**settings)(max)

    assert (0.3, None) == (registry["k"].settings.timeout, registry["k"].settings.breaker)
    assert "disabled" == registry["k"].state
    with pytest.raises(ConfigError, match="already has timeout=0.5"):
        command(**{**settings, "timeout": 0.3})(min)


def test_what_a_later_function_adds_comes_into_force(registry):
    Pipeline(Timeout(0.5), key="k", registry=registry)(len)
    registry["k"].configure(timeout=0.3)

    Pipeline(CircuitBreaker(min_calls=3), Timeout(0.5), key="k", registry=registry)(max)

    assert (0.3, 3) == (registry["k"].settings.timeout, registry["k"].settings.breaker.min_calls)
    assert "closed" == registry["k"].state
