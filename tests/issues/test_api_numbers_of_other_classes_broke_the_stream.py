"""A setting may be given a member of an enumeration of numbers, or one of numpy's numbers. /resilience.stream wrote it as
Python shows it (``"max_concurrent":<Size.SMALL: 4>``), which is no JSON, and explain() raised. Objects keep the number.
"""

import enum
import http
import json
import math

import attrs
import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    ConfigError,
    Failover,
    Fallback,
    Hedge,
    RateLimit,
    Registry,
    Retry,
    RetryBudget,
    StreamTimeout,
    ThreadPool,
    Throttle,
    Timeout,
    command,
    deadline,
    explain,
    http_status,
)
from resilience.core.batch import Collapse
from resilience.core.checks import NumberCheck
from resilience.core.circuit_checkpoint import CircuitCheckpoint
from resilience.core.plain_numbers import bare_number
from resilience.metrics import hystrix, stream
from tests.issues.hostile import ended

ENOUGH = {"window_calls": 99}
MUST = {Hedge: {"idempotent": True}, Failover: {"targets": ("eu", "us")}, CircuitCheckpoint: {"state": "open"},
        RateLimit: {"calls": 10}, StreamTimeout: {"total": 9.0}, Chaos: {"latency": 1.0}, Retry: {}, Fallback: {"function": int},
        CircuitBreaker: {"slow_call": 1.0}}
KINDS = [AdaptiveLimit, Bulkhead, Cache, Chaos, CircuitBreaker, CircuitCheckpoint, Collapse, Failover, Fallback, Hedge, RateLimit,
         Retry, RetryBudget, StreamTimeout, ThreadPool, Throttle, Timeout, deadline]


class Small(enum.IntEnum):
    FOUR = 4


class Odd(float):
    def __repr__(self):
        return f"odd.float({float.__repr__(self)})"


def numbers_like(value):
    """Numbers of other classes that are equal to *value*."""
    if isinstance(value, int):
        return [enum.IntEnum("Whole", {"SOME": value}).SOME, type("OddInt", (int,), {"__repr__": lambda self: "odd"})(value)]
    return [enum.Enum("Number", {"SOME": value}, type=float).SOME, Odd(value)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_setting_that_takes_a_number_keeps_the_number_alone(kind):
    looked_at = 0
    for field in attrs.fields(kind):
        if not isinstance(field.validator, NumberCheck):
            continue
        must = MUST.get(kind, {})
        usual = ENOUGH.get(field.name) or must.get(field.name, field.default)
        value = usual if isinstance(usual, (int, float)) and not isinstance(usual, bool) else 9
        value = value if field.validator.whole else float(value)
        for given in numbers_like(value):
            kept = getattr(kind(**{**must, field.name: given}), field.name)

            assert (type(value), value) == (type(kept), kept), field.name
            looked_at += 1
    assert looked_at


def test_numbers_within_other_settings_are_kept_alone_too():
    found = (*CircuitBreaker(ramp=1.0, ramp_shares=(Odd(0.1), Odd(0.5))).ramp_shares,
             *Failover(("eu", "us"), weights=(Odd(3.0), Small.FOUR)).weights, RateLimit(10, cost=Small.FOUR).cost,
             *CircuitCheckpoint(state="closed", counts=(Small.FOUR, 0, 0, 0)).counts,
             *http_status(failed=[http.HTTPStatus.BAD_GATEWAY, 503]).failed, *http_status(failed=http.HTTPStatus(504)).failed)

    assert "(0.1, 0.5, 3.0, 4, 4, 4, 0, 0, 0, 502, 503, 504)" == repr(found)


def test_what_is_no_number_stays_what_it_is():
    for value in (True, False, None, "1", 1 + 2j):
        assert bare_number(value) is value
    nan = bare_number(Odd("nan"))
    assert (float, True) == (type(nan), math.isnan(nan))


@pytest.mark.parametrize("make", [lambda value: {"timeout": Odd(value)}, lambda value: {"timeout": Timeout(Odd(value))}])
def test_streams_and_explanations_show_the_number(make):
    registry = Registry()

    @command(key="k", registry=registry, max_concurrent=Small.FOUR, **make(0.5))
    async def call():
        pass

    for text in (*stream.Encoder().messages(registry, 0), *hystrix.Encoder().messages(registry, 0),
                 hystrix.config_message(registry)):
        assert "0.5" in text or "500" in text or "odd" not in text
        json.loads(text)
    assert "timeout                     0.5 " in str(explain(call))
    assert ("0.5", "4") == (repr(call.resilience.settings.timeout), repr(call.resilience.settings.max_concurrent))

    call.resilience.configure(timeout=Odd(0.25), max_concurrent=Bulkhead(Small.FOUR))
    [message] = stream.Encoder().messages(registry, 0)
    assert (4, 0.25) == tuple(json.loads(message)[name] for name in ("max_concurrent", "timeout_s"))


def test_the_bounds_of_a_pool_are_numbers_alone():
    registry = Registry()

    @command(key="k", registry=registry, pool=ThreadPool(2), timeout=1.0, group="g")
    def call():
        pass

    registry.pools()["g"].configure(Small.FOUR, Small.FOUR)
    for text in hystrix.Encoder().messages(registry, 0):
        json.loads(text)
    assert int is type(registry.pools()["g"].max_queue)


# -- numbers that no call can do with


@pytest.mark.parametrize("weights", [(10**400, 1), (1, -(10**400)), (10**308, 10**308), (1e308, 1e308), (math.inf, 1),
                                     (math.nan, 1), (True, 1), ("1", 1), (0, 0)])
def test_weights_that_nobody_can_draw_by_are_mistakes(weights):
    with pytest.raises(ConfigError, match="weights must be numbers") as caught:
        Failover(("a", "b"), weights=weights)

    assert "weights" == caught.value.option


@pytest.mark.parametrize("elapsed", ["1", None, math.nan, 10**400, [1], True])
@pytest.mark.parametrize("of", ["registry", "command"])
def test_a_time_that_is_no_number_of_seconds_restores_nothing(of, elapsed):
    registry = Registry()

    @command(key="k", registry=registry, timeout=None)
    def call():
        pass

    saved = registry.save()
    restore = registry.restore if of == "registry" else lambda saved, elapsed: call.resilience.restore(saved["k"], elapsed=elapsed)
    error = ended(lambda: restore(saved, elapsed=elapsed))

    assert (ConfigError, "elapsed") == (type(error), error.option)


@pytest.mark.parametrize("saved", [[1], "k", None, 7, {"k": [1]}, {"k": None}, {"k": {"state": "odd"}}, {"k": {1: 2}}, {"k": "x"}])
def test_what_save_does_not_return_is_no_bare_type_error(saved):
    registry = Registry()

    @command(key="k", registry=registry, timeout=None)
    def call():
        pass

    assert ConfigError is type(ended(lambda: registry.restore(saved)))


@pytest.mark.parametrize("elapsed", [0, -1.5, math.inf, -math.inf, Odd(2.0), Small.FOUR])
def test_any_time_that_may_have_gone_by_is_taken(elapsed):
    registry = Registry()

    @command(key="k", registry=registry, timeout=None)
    def call():
        pass

    registry.restore(registry.save(), elapsed=elapsed)
