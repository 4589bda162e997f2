"""Checks: frozen values that say what they accept, and what somebody who gave something else most likely meant."""

import math
import pickle

import attrs
import pytest

from resilience import ConfigError
from resilience.config.constraints import constraints
from resilience.core.checks import (
    NumberCheck,
    callable_or_none,
    flag,
    nearest,
    number,
    ordinary_exceptions,
    rising_shares,
    text,
)

ALL = [number(above=0, most=1), number(least=1, whole=True, optional=True), text(), text(optional=True), flag,
       callable_or_none, rising_shares, ordinary_exceptions]
FIELD = attrs.fields(attrs.make_class("Some", ["share"])).share


@pytest.mark.parametrize("check", ALL, ids=repr)
def test_a_check_is_a_frozen_value_with_a_repr_of_what_it_accepts(check):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        check.optional = True
    assert check == attrs.evolve(check) == pickle.loads(pickle.dumps(check))
    assert hash(check) == hash(attrs.evolve(check))
    assert repr(check).startswith(f"{type(check).__name__}(optional=")


def test_the_repr_of_a_number_shows_its_range():
    assert "NumberCheck(optional=False, above=0, least=None, most=1, whole=False)" == repr(number(above=0, most=1))
    assert number(above=0) == NumberCheck(above=0) != number(least=0)


@pytest.mark.parametrize(("check", "wanted"), [
    (number(above=0, most=1), {"exclusiveMinimum": 0, "maximum": 1}), (number(least=0.5), {"minimum": 0.5}), (number(), {}),
    (text(), {"minLength": 1}), (flag, {}), (callable_or_none, {}), (None, {}),
    (rising_shares, {"minItems": 1, "uniqueItems": True, "items": {"exclusiveMinimum": 0, "exclusiveMaximum": 1}}),
    (attrs.validators.and_(number(least=1), number(most=3)), {"minimum": 1, "maximum": 3}),
    (attrs.validators.optional(number(least=1)), {"minimum": 1}),
    (attrs.validators.deep_iterable(text()), {"items": {"minLength": 1}})])
def test_the_schema_has_what_the_attributes_say(check, wanted):
    assert wanted == constraints(check)


@pytest.mark.parametrize(("check", "value", "message"), [
    (number(above=0, most=1, optional=True), 50, "must be a number above 0 and at most 1 or None, not 50; this is a share "
                                                 "from 0 to 1: did you mean 0.5?"),
    (number(least=0, most=1), 100, "must be a number at least 0 and at most 1, not 100; this is a share from 0 to 1: did "
                                   "you mean 1?"),
    (number(least=0, most=0.99), 100, "must be a number at least 0 and at most 0.99, not 100"),
    (number(least=0, most=1), -5, "must be a number at least 0 and at most 1, not -5"),
    (number(least=0, most=1), 101, "must be a number at least 0 and at most 1, not 101"),
    (number(least=0, most=1), math.nan, "must be a number at least 0 and at most 1, not nan"),
    (number(least=0, most=1, whole=True), 50, "must be a whole number at least 0 and at most 1, not 50"),
    (number(least=0, most=10), 50, "must be a number at least 0 and at most 10, not 50"),
    (rising_shares, (10, 50), "must be rising numbers above 0 and below 1, such as (0.1, 0.25, 0.5), not (10, 50); did you "
                              "mean (0.1, 0.5)?"),
    (rising_shares, (50, 10), "must be rising numbers above 0 and below 1, such as (0.1, 0.25, 0.5), not (50, 10)"),
    (callable_or_none, 3, "must be callable or None, not 3"), (flag, 1, "must be True or False, not 1"),
    (text(optional=True), "", "must be a non-empty string or None, not ''"),
    (ordinary_exceptions, (BaseException,), "must be an Exception class or a tuple of Exception classes, not "
                                            "(<class 'BaseException'>,); BaseException always passes through every "
                                            "policy: leave it out")])
def test_a_mistake_says_what_is_accepted_what_it_got_and_what_was_meant(check, value, message):
    assert message == check.mistake(value)
    with pytest.raises(ConfigError) as caught:
        check(None, FIELD, value)
    assert (f"share {message}", "share") == (str(caught.value), caught.value.option)


@pytest.mark.parametrize(("check", "value"), [
    (callable_or_none, None), (callable_or_none, len), (text(optional=True), None), (flag, False), (number(), -1e9),
    (number(optional=True), None), (rising_shares, (0.5,)), (ordinary_exceptions, ()), (ordinary_exceptions, (OSError,))])
def test_what_is_accepted_is_no_mistake(check, value):
    assert check.mistake(value) is None
    check(None, FIELD, value)


@pytest.mark.parametrize(("name", "known", "near"), [
    ("failure_rte", ["failure_rate", "slow_rate"], "failure_rate"), ("Rate-Limit", ["rate_limit"], "rate_limit"),
    ("bulkhead", ["breaker", "max_concurrent"], "max_concurrent"), ("bulkhead", ["breaker"], None),
    ("retries", ["attempts"], "attempts"), ("retries", ["attempts", "retry"], "retry"), ("quux", ["retry"], None)])
def test_the_nearest_name_is_the_one_most_alike_or_what_others_call_it(name, known, near):
    assert near == nearest(name, known)
