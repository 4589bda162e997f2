"""Checks: frozen values that say what they accept, and what somebody who gave something else most likely meant."""

import math
import pickle
import sys
from datetime import timedelta

import attrs
import pytest

from resilience import ConfigError
from resilience.config.constraints import constraints
from resilience.core.adaptive import AdaptiveLimit
from resilience.core.callbacks import GIVE_PLAIN
from resilience.core.checks import (
    NumberCheck,
    as_classes,
    as_tuple,
    callable_or_none,
    flag,
    number,
    one_of,
    ordinary_exceptions,
    rising_shares,
    settings_for,
    strict,
    text,
    wrong_kind,
)
from resilience.core.setting_names import nearest

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


@pytest.mark.parametrize(("value", "classes"), [(OSError, (OSError,)), ((OSError, ValueError), (OSError, ValueError)), (3, 3)])
def test_one_class_is_as_good_as_a_tuple_of_it(value, classes):
    assert classes == as_classes(value)


@pytest.mark.parametrize(("value", "made"), [([1, 2], (1, 2)), ((1,), (1,)), ("ab", "ab")])
def test_a_list_is_as_good_as_a_tuple(value, made):
    assert made == as_tuple(value)


@strict
@attrs.frozen
class Sized:
    """One setting goes without a name."""

    size: int = attrs.field(default=3, validator=number(least=1, most=10, whole=True))
    wait: float = attrs.field(default=0.0, kw_only=True, validator=number(least=0))


@strict
@attrs.frozen(kw_only=True)
class Named:
    """All settings go by name, and one must be True."""

    sure: bool = attrs.field(default=False, metadata={"must_be_true": True})
    tries: int = attrs.field(default=3, validator=number(least=2, whole=True))
    share: float = attrs.field(default=0.5, validator=number(above=0, most=1))
    _made: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self):
        if not self.sure:
            raise ConfigError("sure must be True", "sure")


@strict
@attrs.frozen
class Pair:
    """Two settings go without a name."""

    one: int = 1
    two: int = 2


@pytest.mark.parametrize(("cls", "value", "written"), [
    (Sized, 3, "Sized(3)"), (Sized, 11, "Sized(wait=11)"), (Sized, 0.5, "Sized(wait=0.5)"), (Sized, -1, None), (Sized, "3", None),
    (Sized, Sized, "Sized()"), (Sized, True, "Sized()"), (Sized, False, None), (Sized, {"size": 5, "wait": 1.0}, "Sized(5, wait=1.0)"),
    (Sized, {"size": 50}, None), (Sized, {"wiat": 1}, None), (Named, 4, "Named(sure=True, tries=4)"),
    (Named, 0.25, "Named(sure=True, share=0.25)"), (Named, Named, "Named(sure=True)"), (Named, -1, None), (Named, Sized, None),
    (Named, {"tries": 4}, "Named(sure=True, tries=4)"), (int, 3, None), (object, object, None)])
def test_what_somebody_meant_is_written_as_an_expression(cls, value, written):
    assert written == settings_for(cls, value)


@pytest.mark.parametrize(("cls", "value", "message"), [
    (Sized, 5, "x must be a Sized or None, not 5; did you mean Sized(5)?"),
    (Sized, False, "x must be a Sized or None, not False; write None to switch it off"),
    (Sized, "5", "x must be a Sized or None, not '5'; write Sized(...)"),
    (AdaptiveLimit, "5", "x must be an AdaptiveLimit or None, not '5'; write AdaptiveLimit(...)"),
    (Sized, Named(sure=True), "x must be a Sized or None, not a value of type Named; write Sized(...)")])
def test_what_is_no_policy_is_answered_with_the_policy_that_it_means(cls, value, message):
    error = wrong_kind("x", cls, value)

    assert (message, "x") == (str(error), error.option)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Named(4), "Named takes its settings by name, as in Named(sure=True, tries=4), not 4"),
    (lambda: Named("4"), "Named takes its settings by name, as in Named(name=value), not '4'"),
    (lambda: Sized(4, 5), "Sized takes one setting without a name, as in Sized(4, name=value), not 5"),
    (lambda: Pair(4, 5, 6), "Pair takes 2 settings without a name, as in Pair(4, 5, name=value), not 6")])
def test_too_many_settings_without_a_name_are_answered_with_an_example(make, message):
    with pytest.raises(TypeError) as caught:
        make()
    assert message == str(caught.value)


def test_an_unknown_setting_is_refused_by_name_and_known_ones_are_taken():
    with pytest.raises(ConfigError, match="Sized has no setting 'siez'; did you mean size?") as caught:
        Sized(siez=3)

    assert "siez" == caught.value.option
    assert (4, 5, 1.0) == (Sized(4).size, Sized(size=5).size, Sized(4, wait=1.0).wait)
    assert (4, 5) == (Pair(4, 5).one, Pair(4, 5).two)


@pytest.mark.parametrize(("check", "value", "hint"), [
    (number(above=0), timedelta(seconds=90), "durations are numbers of seconds: did you mean 90?"),
    (number(above=0, most=1), timedelta(seconds=90), ""), (number(least=0, most=1), 1.5, "this is a share from 0 to 1: did you mean 0.015?"),
    (number(least=0, most=1), 2, "this is a share from 0 to 1: did you mean 0.02?"), (number(least=0, most=1), 1, ""),
    (number(least=0, most=0.9), 90, "this is a share from 0 to 1: did you mean 0.9?"), (number(least=0, most=0.89), 50, ""),
    (number(least=0.5, most=1), 60, ""), (number(least=0, most=1), "50", ""), (number(least=0), 50, ""),
    (number(least=1, whole=True), "3", ""), (rising_shares, (10, 100), ""), (rising_shares, (1, 50), "did you mean (0.01, 0.5)?"),
    (rising_shares, (0.5, 0.1), ""), (rising_shares, (), ""), (rising_shares, 3, ""), (rising_shares, ("a",), ""),
    (rising_shares, (0.5, 1), ""), (rising_shares, (1, 2), "did you mean (0.01, 0.02)?"), (rising_shares, (0.5, 0.6), ""),
    (number(least=0, most=1.5), 50, ""), (number(least=0, most=0.9), 90.5, ""),
    (ordinary_exceptions, [OSError], "write a tuple, not a list"), (ordinary_exceptions, {OSError}, "write a tuple, not a set"),
    (ordinary_exceptions, (OSError("x"),), "write the class, OSError"), (ordinary_exceptions, OSError("x"), "write the class, OSError"),
    (ordinary_exceptions, (OSError, KeyboardInterrupt), "KeyboardInterrupt always passes through every policy: leave it out"),
    (ordinary_exceptions, (int,), ""), (ordinary_exceptions, "OSError", ""), (flag, "yes", "")])
def test_what_was_meant_is_hinted_at(check, value, hint):
    assert hint == check.hint(value)


@pytest.mark.parametrize(("check", "good", "bad"), [
    (number(above=1, most=3), [1.5, 3, 2.0], [1, 1.0, 3.5]), (number(least=1), [1, 1e308], [0.999, 10**400, -10**400, math.inf]),
    (number(least=-5, whole=True), [-5, 0, 10**300], [-6, 1.0, True, 10**309]), (number(), [-1.7e308, 0, sys.float_info.max], [math.nan, False]),
    (text(), ["x"], ["", b"x", None]), (rising_shares, [(0.1,), (0.1, 0.2), (0.999,)], [(), (0.2, 0.1), (0.1, 0.1), (0,), (1,), (0.5, 1), (-0.5, 0.5), (0, 0.5),
                                                                                 [0.1], (True,), ("a",)]),
    (ordinary_exceptions, [(), (OSError,)], [[OSError], (3,), OSError, (BaseException,)])])
def test_what_a_check_accepts(check, good, bad):
    assert ([True] * len(good), [False] * len(bad)) == ([check.accepts(value) for value in good], [check.accepts(value) for value in bad])


def test_a_check_without_keywords_of_its_own_has_none():
    assert [{}] * 3 == [check.json_schema for check in (flag, callable_or_none, ordinary_exceptions)]


def test_a_class_that_is_made_strict_stays_itself_and_knows_its_settings_by_the_names_that_callers_use():
    @attrs.frozen
    class Private:
        _size: int = 3
        wait: float = attrs.field(default=0.0, kw_only=True)
        made: int = attrs.field(default=7, init=False)

    made = strict(Private)
    assert (made, 5, 4) == (Private, Private(size=5)._size, Private(4, wait=1.0)._size)
    with pytest.raises(TypeError, match="Private takes one setting without a name, as in Private"):
        Private(4, 5)
    with pytest.raises(ConfigError, match="Private has no setting '_size'; did you mean size?"):
        Private(_size=5)

    by_name = strict(attrs.make_class("ByName", {"one": attrs.field(default=1), "two": attrs.field(default=2)}, kw_only=True))
    assert (1, 3) == (by_name().one, by_name(two=3).two)
    with pytest.raises(TypeError, match="ByName takes its settings by name"):
        by_name(1)


def test_a_value_is_shown_as_the_caller_of_a_check_wants_it():
    assert "must be True or False, not yes" == flag.mistake("yes", shown="yes")
    assert "must be True or False, not ''" == flag.mistake("")
    assert "must be True or False, not " == flag.mistake("yes", shown="")


CHOICE = one_of("full", "equal", "none")


@pytest.mark.parametrize(("value", "mistake"), [
    ("full", None), ("none", None), ("ful", "must be one of full, equal, none, not 'ful'; did you mean full?"),
    ("zzz", "must be one of full, equal, none, not 'zzz'"), (None, "must be one of full, equal, none, not None"),
    (7, "must be one of full, equal, none, not 7"), (("full",), "must be one of full, equal, none, not ('full',)")])
def test_one_of_a_few_words_is_taken_and_the_nearest_is_named(value, mistake):
    assert mistake == CHOICE.mistake(value)


def test_what_would_have_to_be_awaited_is_answered_with_what_to_give_instead():
    async def later():
        """A coroutine function."""

    assert callable_or_none.mistake(later).endswith(f"; {GIVE_PLAIN}")
    assert callable_or_none.mistake(7) == "must be callable or None, not 7"


def test_none_is_welcome_only_where_a_check_says_so():
    assert [None, "must be a non-empty string, not None"] == [text(True).mistake(None), text().mistake(None)]
    assert (False, False, False) == (NumberCheck().optional, NumberCheck().whole, text().optional)
    with pytest.raises(TypeError):
        NumberCheck(True)


def test_the_schema_of_one_of_a_few_words_lists_them():
    assert CHOICE.json_schema == {"enum": ["full", "equal", "none"]}


def test_what_a_check_keeps_is_what_its_object_has():
    class Much(float):
        """As numpy's are."""

    @attrs.frozen
    class Has:
        share: float = attrs.field(validator=NumberCheck())

    assert float is type(Has(Much(0.5)).share)
