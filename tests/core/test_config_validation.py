"""Every option, and everything it must not be."""

import math
import pickle
from decimal import Decimal
from fractions import Fraction

import attrs
import pytest

from resilience import Bulkhead, CircuitBreaker, ConfigError, Fallback, Timeout
from resilience.core.breaker import time_open
from resilience.core.checks import flag, ordinary_exceptions, text
from resilience.core.thread_pool import ThreadPool

NOT_A_NUMBER = ["1", b"1", True, False, [], (), {}, object(), int, Decimal(1), Fraction(1, 2), 1j, math.nan, math.inf,
                -math.inf]
POSITIVE = [0, 0.0, -1, -0.5, -1e-9]
SHARE = [*POSITIVE, 1.0000001, 2, 50]
WHOLE = [*POSITIVE, 1.5, 2.0]
NONE = [None]


def answer(*args, **kwargs):
    return None


#: (class, other arguments), option, values out of range, a phrase of the accepted range.
TABLE = [
    (CircuitBreaker, "failure_rate", SHARE, "above 0 and at most 1 or None"),
    (CircuitBreaker, "consecutive", [*WHOLE, 10**7], "whole number at least 1 and at most 1000000 or None"),
    (CircuitBreaker, "min_calls", [*WHOLE, 10**7, None], "whole number at least 1 and at most 1000000"),
    (CircuitBreaker, "window", [*POSITIVE, None, 1e-4], "at least 0.001"),
    (CircuitBreaker, "buckets", [*WHOLE, 1001, None], "whole number at least 1 and at most 1000"),
    (CircuitBreaker, "window_calls", [*WHOLE, 10**7], "whole number at least 1 and at most 1000000 or None"),
    (CircuitBreaker, "open_for", POSITIVE + NONE, "above 0"),
    (CircuitBreaker, "open_growth", [0, -1, 0.99, None], "at least 1"),
    (CircuitBreaker, "open_max", POSITIVE + NONE, "above 0"),
    (CircuitBreaker, "open_jitter", [-0.1, 1.1, None], "at least 0 and at most 1"),
    (CircuitBreaker, "slow_call", POSITIVE, "above 0 or None"),
    (CircuitBreaker, "slow_rate", SHARE + NONE, "above 0 and at most 1"),
    (CircuitBreaker, "half_open_calls", [*WHOLE, 10**7, None], "whole number at least 1 and at most 1000000"),
    (CircuitBreaker, "half_open_failures", [-1, 0.5, 10**7, None], "whole number at least 0 and at most 1000000"),
    (CircuitBreaker, "half_open_for", POSITIVE + NONE, "above 0"),
    (CircuitBreaker, "ramp", [-1, None], "at least 0"),
    (Bulkhead, "max_concurrent", [*WHOLE, 10**7], "whole number at least 1 and at most 1000000 or None"),
    (Timeout, "timeout", [*POSITIVE, 86_401], "above 0 and at most 86400 or None"),
    (Fallback, "max_concurrent", [*WHOLE, 10**7, None], "whole number at least 1 and at most 1000000"),
    (ThreadPool, "size", [*WHOLE, 10_001, None], "whole number at least 1 and at most 10000"),
    (ThreadPool, "max_queue", [-1, 0.5, 10**7, None], "whole number at least 0 and at most 1000000"),
]
def _shown(value):
    return "object" if type(value) is object else f"{value!r:.30}"  # which says its address


CASES = [pytest.param(kind, option, value, words, id=f"{kind.__name__}.{option}={_shown(value)}")
         for kind, option, beyond, words in TABLE for value in [*NOT_A_NUMBER, *beyond, -10**400]]


@pytest.mark.parametrize(("kind", "option", "value", "words"), CASES)
def test_a_bad_number_is_refused_by_name_and_range(kind, option, value, words):
    required = {"function": answer} if kind is Fallback else {}
    with pytest.raises(ConfigError) as caught:
        kind(**required, **{option: value})

    assert option == caught.value.option
    assert str(caught.value).startswith(f"{option} must be a")
    assert words in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [None, 0, 1, "yes", "False", [], math.nan])
def test_count_rejections_is_a_bool_and_nothing_that_is_merely_true(value):
    with pytest.raises(ConfigError, match="count_rejections must be True or False") as caught:
        CircuitBreaker(count_rejections=value)

    assert "count_rejections" == caught.value.option


@pytest.mark.parametrize("value", [None, (), 0, "OSError", BaseException, KeyboardInterrupt, (OSError, GeneratorExit),
                                   (OSError, "x"), [OSError], {OSError}, OSError()])
def test_a_fallback_answers_for_exception_classes_only(value):
    if value == ():
        Fallback(answer, on=value)  # answers for nothing, which is odd and harmless
        return
    with pytest.raises(ConfigError) as caught:
        Fallback(answer, on=value)

    assert "on" == caught.value.option


@pytest.mark.parametrize("value", [None, 1, "f", object()])
def test_a_fallback_that_cannot_be_called_is_a_type_error(value):
    with pytest.raises(TypeError, match="must be callable"):
        Fallback(value)


@pytest.mark.parametrize(("kind", "name", "hint"), [
    (CircuitBreaker, "failure_ratio", "did you mean failure_rate?"),
    (CircuitBreaker, "reset_timeout", "CircuitBreaker has no setting"),
    (CircuitBreaker, "half_open_call", "did you mean half_open_calls?"),
    (Bulkhead, "max_concurency", "did you mean max_concurrent?"),
    (Timeout, "seconds", "it has timeout"),
    (Fallback, "max_concurrency", "did you mean max_concurrent=1?"),
    (ThreadPool, "max_size", "ThreadPool has no setting"),
])
def test_an_unknown_option_is_named_and_the_nearest_one_suggested(kind, name, hint):
    with pytest.raises(ConfigError) as caught:
        kind(**{name: 1})

    assert name == caught.value.option
    assert hint in str(caught.value)


@pytest.mark.parametrize(("options", "culprit", "words"), [
    ({"window_calls": 10, "min_calls": 11}, "min_calls", "at most window_calls (10)"),
    ({"window_calls": 10}, "min_calls", "not 20"),
    ({"open_growth": 2.0, "open_for": 10.0, "open_max": 5.0}, "open_max", "at least open_for (10)"),
    ({"slow_rate": 0.5}, "slow_rate", "slow_call"), ({"slow_rate": 0.999}, "slow_rate", "slow_call"),
    ({"failure_rate": None}, "failure_rate", "the circuit could never open"),
    ({"half_open_calls": 2, "half_open_failures": 2}, "half_open_failures", "less than half_open_calls (2)"),
    ({"half_open_failures": 1}, "half_open_failures", "less than half_open_calls (1)"),
])
def test_a_contradiction_is_refused_with_both_sides_named(options, culprit, words):
    with pytest.raises(ConfigError) as caught:
        CircuitBreaker(**options)

    assert culprit == caught.value.option
    assert words in str(caught.value)


@pytest.mark.parametrize("options", [
    {"window_calls": 10, "min_calls": 10}, {"window_calls": 30}, {"open_growth": 2.0, "open_for": 10.0, "open_max": 10.0},
    {"open_for": 10.0, "open_max": 5.0}, {"slow_rate": 0.5, "slow_call": 1.0}, {"failure_rate": None, "consecutive": 3},
    {"failure_rate": None, "slow_call": 1.0}, {"half_open_calls": 2, "half_open_failures": 1}, {"slow_rate": 1.0},
    {"failure_rate": None, "consecutive": 3, "slow_call": 1.0}, {"consecutive": 3}])
def test_what_contradicts_nothing_is_accepted(options):
    CircuitBreaker(**options)


@pytest.mark.parametrize(("options", "openings", "u", "seconds"), [
    ({}, 1, 0.0, 5.0), ({}, 9, 0.5, 5.0), ({"open_jitter": 0.5}, 1, 0.5, 6.25), ({"open_growth": 2.0}, 1, 0.0, 5.0),
    ({"open_growth": 2.0}, 2, 0.0, 10.0), ({"open_growth": 2.0}, 4, 0.0, 40.0), ({"open_growth": 2.0}, 9, 0.0, 300.0),
    ({"open_growth": 2.0, "open_max": 20.0, "open_jitter": 1.0}, 9, 0.5, 30.0), ({"open_growth": 1.5}, 3, 0.0, 11.25),
    ({"open_max": 1.0}, 9, 0.0, 5.0), ({"open_growth": 10.0}, 10_000, 0.0, 300.0)])
def test_how_long_a_circuit_stays_open(options, openings, u, seconds):
    assert seconds == time_open(CircuitBreaker(**options), openings, u)


@pytest.mark.parametrize("config", [CircuitBreaker(), Bulkhead(None), Timeout(None), ThreadPool(size=3),
                                    CircuitBreaker(window_calls=20, slow_call=1, open_growth=1, open_max=1)])
def test_a_configuration_is_a_frozen_value(config):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.anything = 1

    assert config == pickle.loads(pickle.dumps(config)) == attrs.evolve(config)
    assert hash(config) == hash(attrs.evolve(config))


def test_evolving_checks_as_making_does():
    with pytest.raises(ConfigError, match="failure_rate must be"):
        attrs.evolve(CircuitBreaker(), failure_rate=3)
    with pytest.raises(ConfigError, match="has no setting 'rate'"):
        attrs.evolve(CircuitBreaker(), rate=3)


def test_the_defaults_are_hystrixs():
    config = CircuitBreaker()

    assert (0.5, 20, 10.0, 10, 5.0) == (config.failure_rate, config.min_calls, config.window, config.buckets,
                                        config.open_for)
    assert 1 == config.half_open_calls
    assert (10, 1.0, 10) == (Bulkhead().max_concurrent, Timeout().timeout, Fallback(answer).max_concurrent)


@attrs.frozen
class Sample:
    a_flag: bool = attrs.field(default=True, validator=flag)
    name: str = attrs.field(default="x", validator=text())
    nick: str | None = attrs.field(default=None, validator=text(optional=True))
    types: tuple = attrs.field(default=(OSError,), validator=ordinary_exceptions)


@pytest.mark.parametrize(("option", "value"), [
    ("a_flag", 1), ("name", ""), ("name", None), ("name", 3), ("nick", ""), ("nick", b"x"),
    ("types", OSError), ("types", [OSError]), ("types", (OSError, int)), ("types", None)])
def test_other_checks_name_the_option_and_what_it_got(option, value):
    with pytest.raises(ConfigError) as caught:
        Sample(**{option: value})

    assert option == caught.value.option
    assert repr(value) in str(caught.value)
